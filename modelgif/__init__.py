"""Gradient fields of trained models and the distances between them."""
