"""One stage over one input: planned, skipped as far as it is made, streamed, recorded."""
