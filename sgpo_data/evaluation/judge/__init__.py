"""A model as judge of two answers: what it is asked, and how its verdict is read."""
