"""The functions of a notebook: what the commands do, with references or tables in, and datasets out."""
