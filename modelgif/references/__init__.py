"""The points at which models are described, and how they are chosen."""
