"""Encoders compared at references, by every method."""
