"""What a recipe file says, and its faults."""
