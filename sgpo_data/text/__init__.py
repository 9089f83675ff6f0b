"""What is measured of a text alone: words, edits, n-grams, differences, flags of answers."""
