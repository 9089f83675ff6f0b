"""The engine of a model at a server with the OpenAI protocol."""
