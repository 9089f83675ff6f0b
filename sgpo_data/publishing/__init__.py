"""Datasets and models to the Hub, and what was published made again."""
