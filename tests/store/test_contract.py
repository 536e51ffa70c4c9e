"""The SQLite engine keeps the contract of every engine; PostgreSQL's part is with its plugin."""

from __future__ import annotations

import pytest

from chatserver.testing.engine import EngineContract


class TestSqliteKeepsTheContract(EngineContract):
    @pytest.fixture
    def engine(self) -> str:
        return "sqlite"
