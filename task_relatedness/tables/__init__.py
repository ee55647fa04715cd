"""The testbed's tables, and the published matrices beside them."""
