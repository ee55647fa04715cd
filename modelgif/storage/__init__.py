"""Files that are written whole or not at all, and the store of a gradient field."""
