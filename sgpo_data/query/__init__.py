"""SQL that nobody vetted, over datasets and files."""
