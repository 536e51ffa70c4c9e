"""A released migration is never changed, and a database of every released version becomes one of this version."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatserver.store import tables
from chatserver.store.database import Database
from chatserver.store.migrations import checksum_of
from tests.store.schemas import FOLDER, current, of_engine, read

RELEASED = sorted(FOLDER.glob("schema-*.sql"))
HOW = (
    "A released migration is never edited: put it back, and add a new one. Only while {version} is not released yet:"
    " python -m tests.store.schemas > tests/store/{file}"
)


def test_there_is_one_to_compare_with() -> None:
    assert RELEASED[0].name == "schema-0.1.0.sql"


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
def test_what_was_released_is_as_it_was(file: Path) -> None:
    now = current()
    for name, migrations in read(file).items():
        then = [(one.name, checksum_of(one)) for one in migrations]
        here = [(one.name, checksum_of(one)) for one in now.get(name, [])]
        assert here[: len(then)] == then, HOW.format(version=file.stem.removeprefix("schema-"), file=file.name)


@pytest.mark.parametrize("file", RELEASED, ids=lambda file: file.stem)
async def test_a_database_of_that_version_becomes_one_of_this(file: Path, database: Database) -> None:
    old, new = of_engine(read(file), database.engine), of_engine(current(), database.engine)
    await database.migrate(old)
    add = "INSERT INTO accounts (id, email, name, role, state, groups, settings, created_at)" \
          " VALUES ('a', 'ann@example.org', 'Ann', 'admin', 'active', '[]', '{}', 1)"  # fmt: skip
    await database.write(lambda tx: tx.run(add))
    await database.migrate(new)
    assert await database.plan(new) == []
    for named in tables.tables_of(new):
        described = await database.read(lambda tx, one=named: tables.describe(tx, one))  # type: ignore[misc]
        rows = await database.read(lambda tx, one=described: tables.page_of(tx, one, (), 10))  # type: ignore[misc]
        assert described.columns and len(rows) == (1 if named.name == "accounts" else 0), named.name
