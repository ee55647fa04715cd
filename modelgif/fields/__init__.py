"""One model described: its gradient field, its features, and how they are computed."""
