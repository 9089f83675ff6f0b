"""Raw rows to prompts."""
