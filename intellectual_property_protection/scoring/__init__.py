"""From distances to scores, to how well they separate, to verdicts."""
