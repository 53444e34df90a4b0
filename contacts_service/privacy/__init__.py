"""Privacy: one person's data out, and old data gone."""
