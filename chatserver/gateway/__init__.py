"""Knows channels, not vendors: which could serve a model, and how one is tried after another."""
