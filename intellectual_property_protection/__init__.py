"""Testbed: was this model derived from mine? (ModelGiF, section 4.2)."""
