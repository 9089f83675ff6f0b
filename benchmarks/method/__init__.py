"""The experiment: does the loop help, where, and how much."""
