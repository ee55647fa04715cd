"""Rival methods: each a file with ``describe`` (once per model) and ``compare`` (per pair)."""
