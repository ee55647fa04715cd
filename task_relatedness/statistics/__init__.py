"""How distances agree with transfer, and how sure that is."""
