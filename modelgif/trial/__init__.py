"""A trial: a victim, its suspects and independent models, and every line of evidence on each."""
