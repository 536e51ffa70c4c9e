"""Every statement of a released version, noted while its tests ran; each must still be understood by later schemas.

At the release, before anything else is changed:
STATEMENTS=tests/store/statements-VERSION.sql python -m pytest -p tests.store.statements tests/chat tests/store \
    tests/web tests/work tests/flows/test_faults.py plugins/password
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatserver.store.lane import SqliteTx

_HEAD = re.compile(r"^-- (\S+) (\S+) \((.*)\)$", re.MULTILINE)
_ENGINES = ("chatserver.store.lane", "chatserver_postgres.lane", "chatserver.plugins.fence")
_GENERIC = {"copies", "integrity", "migrations", "tables"}
"""They take any schema as they find it."""
_MOST = 20
"""Parameters; one like it with fewer is there as well."""


class Statement(msgspec.Struct, frozen=True, order=True):
    """engine: `all`, or the one on which it was seen. types: of the values it was given, by name."""

    function: str
    engine: str
    types: tuple[tuple[str, str], ...]
    sql: str


class Notebook:
    def __init__(self) -> None:
        self.seen: dict[tuple[str, str], dict[str, dict[str, str]]] = {}

    def note(self, engine: str, sql: str, parameters: Mapping[str, Any]) -> None:
        function = asker()
        if function is None or len(parameters) > _MOST or "pg_advisory" in sql:
            return
        types = self.seen.setdefault((function, shape_of(sql)), {}).setdefault(engine, {})
        for name, value in parameters.items():
            if value is not None or name not in types:
                types[name] = type(value).__name__

    def statements(self) -> list[Statement]:
        found = []
        for (function, sql), by_engine in self.seen.items():
            # Only search speaks differently to each engine; of all else a test may have been on one alone.
            engine = next(iter(by_engine)) if function.startswith("search.") and len(by_engine) == 1 else "all"
            types = {name: kind for given in by_engine.values() for name, kind in given.items()}
            found.append(Statement(function, engine, tuple(sorted(types.items())), sql))
        return sorted(found)


def shape_of(sql: str) -> str:
    """One and many of a kind are the same question: of `:id_0, :id_1, …` the first stays."""
    return re.sub(r"(:(\w+?)_?\d+)(?:, ?:\2_?\d+)+", r"\1", sql)


def asker() -> str | None:
    """Who asks, as `messages.path_to`; None for tests, plugins and the engines themselves."""
    frame = sys._getframe(3)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _ENGINES:
        frame = frame.f_back
    module = str(frame.f_globals.get("__name__"))
    name = module.rpartition(".")[2]
    is_ours = module.startswith(("chatserver.store.", "chatserver_")) and not module.startswith("chatserver_postgres.")
    if not is_ours or name in _GENERIC:
        return None
    return f"{name}.{frame.f_code.co_name}"


def read(file: Path) -> list[Statement]:
    _, *parts = _HEAD.split(file.read_text())
    return [
        Statement(function, engine, tuple(tuple(one.split(" ")) for one in types.split(", ") if one), sql.strip()[:-1])  # type: ignore[misc]
        for function, engine, types, sql in zip(parts[::4], parts[1::4], parts[2::4], parts[3::4], strict=True)
    ]


def written(statements: list[Statement]) -> str:
    return "".join(
        f"-- {one.function} {one.engine} ({', '.join(' '.join(pair) for pair in one.types)})\n{one.sql};\n"
        for one in statements
    )


def pytest_configure(config: pytest.Config) -> None:
    from chatserver_postgres.lane import Lane

    notebook = Notebook()
    config.stash[_NOTEBOOK] = notebook
    on_sqlite: Any = SqliteTx._execute
    on_postgres: Any = Lane.execute

    def execute_sqlite(self: SqliteTx, sql: str, parameters: Any) -> Any:
        notebook.note("sqlite", sql, parameters)
        return on_sqlite(self, sql, parameters)

    def execute_postgres(self: Lane, sql: str, parameters: Any) -> Any:
        notebook.note("postgres", sql, parameters)
        return on_postgres(self, sql, parameters)

    SqliteTx._execute = execute_sqlite  # type: ignore[method-assign]
    Lane.execute = execute_postgres  # type: ignore[method-assign]


def pytest_sessionfinish(session: pytest.Session) -> None:
    Path(os.environ["STATEMENTS"]).write_text(written(session.config.stash[_NOTEBOOK].statements()))


_NOTEBOOK = pytest.StashKey[Notebook]()
