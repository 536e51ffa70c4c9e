"""Which steps of the schema ran, which would run next, and what is refused: newer, changed or out of order."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import msgspec

from chatserver.clock import now_us
from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.store.database import Tx

Sets = list[tuple[str, list[Migration]]]
TABLE = "migrations"
COPY_SET = "copy"
"""Recorded while a copy into this database is not finished; see copies.py."""
CREATE = (
    "CREATE TABLE IF NOT EXISTS migrations (set_name TEXT NOT NULL, name TEXT NOT NULL, checksum TEXT NOT NULL,"
    " applied_at BIGINT NOT NULL, PRIMARY KEY (set_name, name))"
)
SELECT = "SELECT set_name, name, checksum FROM migrations ORDER BY set_name, name"


class Recorded(msgspec.Struct, frozen=True):
    """A migration the database says it has been through."""

    set_name: str
    name: str
    checksum: str


class Step(msgspec.Struct, frozen=True):
    """A migration still to run, its placeholders filled in for one engine."""

    set_name: str
    name: str
    checksum: str
    statements: tuple[str, ...]
    extension: str = ""

    @property
    def title(self) -> str:
        return f"{self.set_name}/{self.name}"


def checksum_of(migration: Migration) -> str:
    """SHA-256 of the statements as written, placeholders and all, so that it is the same on every engine."""
    return hashlib.sha256("\x00".join(migration.sql).encode()).hexdigest()


def extensions_of(sets: Sets, engine: str) -> set[str]:
    """Those some migration of this engine would like to have."""
    return {one.extension for _, migrations in sets for one in migrations if one.extension and one.engine == engine}


def plan(
    sets: Sets, done: list[Recorded], words: Mapping[str, str], *, engine: str = "", extensions: Collection[str] = ()
) -> list[Step]:
    """What would run, in order: set by set as given, each in its own order. words: what {bytes} and {identity} mean.
    extensions: those this engine has or can make.

    Raises SetupError when the database is ahead of the code, or the code's past was rewritten.
    """
    steps: list[Step] = []
    seen: set[str] = set()
    if any(row.set_name == COPY_SET for row in done) and COPY_SET not in dict(sets):
        raise SetupError(
            "A copy into this database was begun and not finished. Go on with `chatserver copy --resume`, or empty it."
        )
    for set_name, migrations in sets:
        if set_name in seen:
            raise SetupError(f"Two migration sets are called {set_name!r}. Remove the plugin that brings the second.")
        seen.add(set_name)
        recorded = {row.name: row for row in done if row.set_name == set_name}
        planned = _plan_set(set_name, migrations, recorded, words, engine)
        steps += [step for step in planned if not step.extension or step.extension in extensions]
    return steps


def _plan_set(
    set_name: str, migrations: list[Migration], done: dict[str, Recorded], words: Mapping[str, str], engine: str
) -> list[Step]:
    names = [migration.name for migration in migrations]
    if len(set(names)) != len(names):
        raise SetupError(f"The migration set {set_name!r} uses a name twice; names must differ.")
    unknown = sorted(set(done) - set(names))
    if unknown:
        raise SetupError(
            f"This database is newer than this version: it has been through the migration {set_name}/{unknown[-1]},"
            f" which is not known here. Install the version that wrote it, or restore a backup made before."
        )
    steps: list[Step] = []
    for migration in migrations:
        if migration.engine not in ("", engine):
            continue
        checksum = checksum_of(migration)
        row = done.get(migration.name)
        late = next((step for step in steps if not step.extension), None)  # what wants an extension may come any time
        if row is None:
            statements = tuple(fill(sql, words) for sql in migration.sql)
            steps.append(Step(set_name, migration.name, checksum, statements, migration.extension))
        elif row.checksum != checksum:
            raise SetupError(
                f"The migration {set_name}/{migration.name} was changed after it ran on this database. A released"
                f" migration is never edited: put it back as it was, and add a new one for the change."
            )
        elif late is not None:
            raise SetupError(
                f"The migration {set_name}/{late.name} stands before {migration.name}, which already ran on this"
                f" database. Move the new migration to the end of its set."
            )
    return steps


def sets_in(tx: Tx) -> list[str]:
    """The sets a database has been through, known here or not."""
    return tx.all(str, "SELECT DISTINCT set_name FROM migrations ORDER BY set_name")


def fill(sql: str, words: Mapping[str, str]) -> str:
    """Only the known placeholders are touched: other braces, as in DEFAULT '{}', stay."""
    for name, text in words.items():
        sql = sql.replace("{" + name + "}", text)
    return sql


def apply(tx: Tx, step: Step) -> None:
    """Run one step and record it, inside one transaction of the caller's."""
    for statement in step.statements:
        tx.run(statement)
    record(tx, step)


def record(tx: Tx, step: Step) -> None:
    """Note that a step has run; part of its transaction."""
    tx.run(
        "INSERT INTO migrations (set_name, name, checksum, applied_at) VALUES (:set_name, :name, :checksum, :now)",
        set_name=step.set_name,
        name=step.name,
        checksum=step.checksum,
        now=now_us(),
    )
