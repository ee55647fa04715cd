"""Fields as a few kilobytes, and the search among many of them."""
