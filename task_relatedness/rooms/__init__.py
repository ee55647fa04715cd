"""Rooms that render themselves, with the truth of every task."""
