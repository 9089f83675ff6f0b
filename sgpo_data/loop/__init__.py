"""A recipe as steps: planned, estimated, made, cleared away."""
