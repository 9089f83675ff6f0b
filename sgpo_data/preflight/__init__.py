"""A recipe tried on a sample before money is spent: one line per check, with its number, its bound and what to change."""
