"""The engine in this process, on transformers."""
