"""A plugin-based, self-hostable AI chat server; this module is what plugins may import."""
