"""Options to weights, by TRL."""
