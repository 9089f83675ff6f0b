"""What datasets hold: looked at, compared, linted."""
