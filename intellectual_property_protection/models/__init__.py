"""The zoo's models: how each is made, and the published ones."""
