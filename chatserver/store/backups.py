"""A backup: one file with the database and a manifest of it inside; made beside a server, checked, put in its place."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import sqlite3
import urllib.parse
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from chatserver.clock import now_us
from chatserver.errors import SetupError, StorageFull
from chatserver.store import enclosed, migrations
from chatserver.store.database import Tx
from chatserver.store.enclosed import Enclosed, ReadContent
from chatserver.store.lane import BUSY_TIMEOUT_MS, SqliteTx, primary_code
from chatserver.store.rows import Decoders
from chatserver.store.sqlite import BACKUPS, copy_database, plan_steps, sync_folder
from chatserver.store.sqlite_tables import tables_in

R = TypeVar("R")
FORMAT = 1
TABLE = "backup_manifest"
MAX_PROBLEMS = 20
NOT_A_DATABASE = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}


class TableSum(msgspec.Struct, frozen=True):
    """What a table held: how many rows, and the SHA-256 of all of them in their stored order."""

    name: str
    rows: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself. version: the program that made it. schema: the migrations it has been through.
    enclosed: what files hold, when that is in it."""

    format: int
    version: str
    sqlite_version: str
    made_at: int
    schema: tuple[str, ...]
    tables: tuple[TableSum, ...]
    enclosed: Enclosed | None = None

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables)


def make_backup(path: Path, target: Path, version: str, read: ReadContent | None = None) -> Manifest:
    """Copy the database at `path` into one file at `target`, as it is at one moment, while reads and writes go on.
    read: what files hold, to be enclosed as well; None leaves it out.

    `target` appears whole or not at all; one that is there is replaced. Raises StorageFull, and SetupError for a
    target that is in use by this database.
    """
    check_target(target)
    if target.exists() and path.exists() and target.samefile(path):
        raise SetupError(f"{target} is the database itself. Name another file for the backup.")
    made: list[Manifest] = []

    def finish(copy: sqlite3.Connection) -> None:
        copy.isolation_level = None
        inside = enclosed.enclose(copy, read) if read is not None else None
        manifest = Manifest(FORMAT, version, sqlite3.sqlite_version, now_us(), _schema(copy), _sums(copy), inside)
        copy.execute("BEGIN")
        copy.execute(f"DROP TABLE IF EXISTS {TABLE}")
        copy.execute(f"CREATE TABLE {TABLE} (body TEXT NOT NULL)")
        copy.execute(f"INSERT INTO {TABLE} VALUES (?)", (msgspec.json.encode(manifest).decode(),))
        copy.execute("COMMIT")
        made.append(manifest)

    try:
        copy_database(path, target, finish)
    except sqlite3.Error as error:
        raise SetupError(f"The database {path} cannot be copied: {error}. `chatserver verify` says more.") from error
    return made[0]


def check_target(target: Path) -> None:
    """Raises SetupError for what a file cannot take the place of."""
    if target.is_dir():
        raise SetupError(f"{target} is a folder. Name the file the backup is to be written to.")
    if target.exists() and not target.is_file():
        raise SetupError(f"{target} is a device or a pipe, and a backup is a file. Name another.")


class DatabaseFile:
    """A database file opened to be looked at, never changed. is_still: nobody writes to it, so no locks are needed and
    no files appear beside it. Blocking; for one thread at a time."""

    engine = "sqlite"

    def __init__(self, path: Path, *, is_still: bool) -> None:
        if not path.is_file():
            raise SetupError(f"There is no file {path}.")
        left_over = path.with_name(path.name + "-wal")
        if is_still and left_over.exists() and left_over.stat().st_size:
            raise SetupError(
                f"{path} is a database in use or not closed ({left_over.name} lies beside it), not a backup of one."
                " Make one with `chatserver backup`."
            )
        self.path = path
        self._is_still = is_still
        name = urllib.parse.quote(str(path.absolute()))
        query = "?mode=ro&immutable=1" if is_still else "?mode=ro"
        self._connection = sqlite3.connect(f"file:{name}{query}", uri=True, isolation_level=None, timeout=5)
        self._decoders = Decoders()
        try:
            self._connection.execute("PRAGMA query_only=1")
            self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            self._connection.close()
            raise SetupError(f"{path} is not a database, or is damaged: {error}.") from error

    def close(self) -> None:
        self._connection.close()

    async def read(self, function: Callable[[Tx], R]) -> R:
        """As Database.read: one snapshot."""
        tx = SqliteTx(self._connection, self._decoders, set())
        self._connection.execute("BEGIN")
        try:
            return function(tx)
        finally:
            tx.end()
            self._connection.execute("ROLLBACK")

    def damage(self) -> list[str]:
        """What SQLite itself finds wrong, page by page, index by index, reference by reference."""
        try:
            found = [str(row[0]) for row in self._connection.execute(f"PRAGMA integrity_check({MAX_PROBLEMS})")]
            found = [] if found == ["ok"] else [line for text in found for line in text.splitlines()]
            found += self._cut_off() if self._is_still else []
            for table, _, parent, _ in self._connection.execute("PRAGMA foreign_key_check").fetchmany(MAX_PROBLEMS):
                found.append(f"a row of {table} names a row of {parent} that is not there")
        except sqlite3.Error as error:
            return [f"it cannot be read through: {error}"]
        return found

    def _cut_off(self) -> list[str]:
        """SQLite does not mind when the end of a last, empty page is missing."""
        (page_bytes,), (pages,) = (
            self._connection.execute(f"PRAGMA {name}").fetchone() for name in ("page_size", "page_count")
        )
        size_bytes = self.path.stat().st_size
        whole_bytes = page_bytes * pages
        return [] if size_bytes == whole_bytes else [f"it has {size_bytes} bytes instead of {whole_bytes}: it was cut"]

    def manifest(self) -> Manifest | None:
        """None: the file is a plain copy, such as the one made before a migration."""
        try:
            row = self._connection.execute(f"SELECT body FROM {TABLE}").fetchone()
            manifest = msgspec.json.decode(row[0], type=Manifest)
        except (sqlite3.Error, TypeError, msgspec.DecodeError, msgspec.ValidationError) as error:
            if isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
                return None
            raise SetupError(f"The manifest inside {self.path} cannot be read: {error}.") from error
        if manifest.format > FORMAT:
            raise SetupError(f"{self.path} was made by a newer version, {manifest.version}. Install that version.")
        return manifest

    def differences(self, manifest: Manifest) -> list[str]:
        """Where the file is not what its manifest says."""
        try:
            problems = enclosed.problems(self._connection, manifest.enclosed.missing) if manifest.enclosed else []
        except sqlite3.Error as error:
            return [f"it cannot be read through: {error}"]
        try:
            found = {table.name: table for table in _sums(self._connection)}
        except sqlite3.Error as error:
            return [f"it cannot be read through: {error}"]
        told = {table.name: table for table in manifest.tables}
        problems += [f"the table {name} is not in the manifest" for name in found.keys() - told.keys()]
        for name, table in told.items():
            if name not in found:
                problems.append(f"the table {name} is missing")
            elif found[name].rows != table.rows:
                problems.append(f"the table {name} has {found[name].rows} rows instead of {table.rows}")
            elif found[name].sha256 != table.sha256:
                problems.append(f"the rows of the table {name} are not those that were stored")
        return sorted(problems)

    def enclosed(self) -> list[enclosed.Content]:
        """What a backup encloses of what its files hold."""
        there = set(enclosed.enclosed(self._connection))
        return [content for content in enclosed.named(self._connection) if content.sha256 in there]

    def pieces_of(self, sha256: str) -> Iterator[bytes]:
        return enclosed.pieces_of(self._connection, sha256)

    def waiting(self, sets: migrations.Sets) -> list[str]:
        """The migrations still to run on it. Raises SetupError for a newer or a foreign schema."""
        steps = plan_steps(self.path, self._connection, sets)
        if not tables_in(self._connection):
            raise SetupError(f"{self.path} is an empty database.")
        return [step.title for step in steps]


def put_in_place(source: Path, path: Path) -> Path | None:
    """Make `source`, a still database file, the database at `path`, whose lock the caller holds. Returns where the one
    from before is kept, None when there was none.

    At every moment the whole old or the whole new database stands at `path`. Raises StorageFull, and SetupError while
    another process has the database open; then nothing has changed.
    """
    if path.exists() and source.samefile(path):
        raise SetupError(f"{source} is the database itself.")
    part = path.with_name(path.name + ".restoring")
    try:
        _copy_without_manifest(source, part)
        kept = _set_aside(path) if path.exists() else None
        for ending in ("-wal", "-shm"):
            path.with_name(path.name + ending).unlink(missing_ok=True)
        part.replace(path)
        sync_folder(path.parent)
    except (sqlite3.Error, OSError) as error:
        part.unlink(missing_ok=True)
        if primary_code(error) == sqlite3.SQLITE_FULL or getattr(error, "errno", 0) in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(f"There is no room for the database beside {path}. Free some space.") from error
        if isinstance(error, OSError):
            raise
        raise SetupError(f"{source} cannot be put in place: {error}. Nothing was changed.") from error
    except SetupError:
        part.unlink(missing_ok=True)
        raise
    return kept


def _copy_without_manifest(source: Path, part: Path) -> None:
    path_parts = (part, part.with_name(part.name + "-journal"), part.with_name(part.name + "-wal"))
    for one in path_parts:
        one.unlink(missing_ok=True)
    part.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    shutil.copyfile(source, part)
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as copy:
        copy.execute("PRAGMA journal_mode=DELETE")
        copy.execute(f"DROP TABLE IF EXISTS {TABLE}")
        enclosed.remove(copy)
        problems = [str(row[0]) for row in copy.execute("PRAGMA quick_check(1)")]
        if problems != ["ok"]:
            raise SetupError(f"The copy of {source} came out damaged: {problems[0]}. Check the disk.")
    _sync_file(part)


def _set_aside(path: Path) -> Path:
    """Give the database at `path` a second name below `backups/`; with its log, when it is too damaged to fold in."""
    moment = datetime.fromtimestamp(now_us() / 1_000_000, UTC).strftime("%Y%m%dT%H%M%S%f")
    kept = path.parent / BACKUPS / f"{path.stem}-before-restore-{moment}.db"
    kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = path.with_name(path.name + "-wal")
    kept_log = kept.with_name(kept.name + "-wal")
    if (
        log.exists() and log.stat().st_size > 0
    ):  # a copy: SQLite takes the log of a damaged database away at the first look
        shutil.copyfile(log, kept_log)
        _sync_file(kept_log)
    try:
        is_folded = _fold_log(path)
    except (SetupError, sqlite3.Error):
        kept_log.unlink(missing_ok=True)
        raise
    _link(path, kept)
    if is_folded:
        kept_log.unlink(missing_ok=True)
    sync_folder(kept.parent)
    return kept


def _fold_log(path: Path) -> bool:
    """Bring what is in the write-ahead log into the database file itself. False: it is too damaged for that."""
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_MS / 1000)) as old:
            mode = old.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
    except sqlite3.Error as error:
        if primary_code(error) in NOT_A_DATABASE:
            return False
        if primary_code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            mode = "wal"
        else:
            raise
    if mode == "wal":
        raise SetupError(f"Another chatserver command has {path} open. Wait until it is done, then try again.")
    return True


def _link(path: Path, other: Path) -> None:
    try:
        os.link(path, other)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        shutil.copyfile(path, other)  # a filesystem without second names
        _sync_file(other)


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _schema(connection: sqlite3.Connection) -> tuple[str, ...]:
    try:
        return tuple(f"{row[0]}/{row[1]}" for row in connection.execute(migrations.SELECT))
    except sqlite3.OperationalError:
        return ()


def _sums(connection: sqlite3.Connection) -> tuple[TableSum, ...]:
    """Of every table but the manifest; virtual ones are told by the tables they are made of."""
    names = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT IN (?, ?) ORDER BY name",
        (TABLE, enclosed.TABLE),
    ).fetchall()
    return tuple(_sum(connection, name) for (name,) in names)


def _sum(connection: sqlite3.Connection, name: str) -> TableSum:
    digest = hashlib.sha256()
    encode = msgspec.msgpack.Encoder().encode
    rows = 0
    # NOT INDEXED: in the order of the table's own tree, which a copy keeps.
    quoted = name.replace('"', '""')
    cursor = connection.execute(f'SELECT * FROM "{quoted}" NOT INDEXED')
    while page := cursor.fetchmany(1_000):
        rows += len(page)
        digest.update(encode(page))
    return TableSum(name, rows, digest.hexdigest())
