"""SQL asked from a terminal or a pipe."""
