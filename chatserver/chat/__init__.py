"""The use cases: what a person can do with a conversation, and the turn that answers."""
