"""The filter strategies, one SQL file each."""
