"""What goes wrong in a loop, as numbers."""
