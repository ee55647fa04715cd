"""Experiments: configurations, runs, data sets, training, tables and figures."""
