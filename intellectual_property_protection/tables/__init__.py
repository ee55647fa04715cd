"""The testbed's tables, and the published ones beside them."""
