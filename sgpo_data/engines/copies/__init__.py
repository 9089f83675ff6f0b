"""Copies of an engine, each in a process of its own."""
