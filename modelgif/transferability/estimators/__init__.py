"""The scores, one file each, which declares what its score needs and is."""
