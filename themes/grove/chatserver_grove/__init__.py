"""The default look."""
