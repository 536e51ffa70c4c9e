"""Speaks to any endpoint with an OpenAI-compatible chat API."""
