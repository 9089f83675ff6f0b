"""The command line: one small file per command over the Python face."""
