"""The victim compared with every other model, by every method."""
