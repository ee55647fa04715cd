"""Distances of fields: cells, pairs of models, one pair or all."""
