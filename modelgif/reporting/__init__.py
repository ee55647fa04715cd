"""Distances and results as tables, figures and pages."""
