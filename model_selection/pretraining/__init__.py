"""Kinds of pretraining: each a loss of images, and a figure that shows what was learnt."""
