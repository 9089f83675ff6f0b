"""A run as one HTML file: numbers, pictures and sample rows, with nothing to be fetched."""
