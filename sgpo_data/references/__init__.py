"""What a reference means: a dataset, a model or a run."""
