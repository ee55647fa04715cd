"""Networks of the tasks, and how they are trained and scored."""
