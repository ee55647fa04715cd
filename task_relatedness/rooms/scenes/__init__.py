"""Rooms drawn at random, and what a camera sees in them."""
