"""Leased jobs and the outbox pump: what happens after the answer, at least once."""
