"""The row types, one commented CREATE TABLE a file."""
