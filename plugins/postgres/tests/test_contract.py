"""The PostgreSQL engine keeps the contract of every engine."""

from __future__ import annotations

from chatserver.testing.engine import EngineContract


class TestPostgresKeepsTheContract(EngineContract):
    pass
