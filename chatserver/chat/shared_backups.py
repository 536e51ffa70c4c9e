"""Back up a database that many nodes share into the same kind of file as a box's, and fill an empty one from it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from chatserver.chat.backups import Manifest, Restored, Sets, check_backup, check_target, make_backup
from chatserver.chat.copying import copy_house, open_target
from chatserver.clock import now_us
from chatserver.errors import SetupError, StorageFull
from chatserver.store.database import Database
from chatserver.store.disk import FULL
from chatserver.store.enclosed import ReadContent
from chatserver.store.lock import hold_lock
from chatserver.store.snapshot import hold_snapshot
from chatserver.store.sqlite import SqliteDatabase

SetsOf = Callable[[str], Sets]
PREFIX = ".chatserver-"
NAME = "copy.db"
LEFT_US = 60_000_000


async def back_up_shared(
    db: Database, target: Path, sets_of: SetsOf, version: str, read: ReadContent | None = None
) -> Manifest:
    """One moment of the database as a file that `restore` takes on either engine, while every node works on.

    `target` appears whole or not at all. read: what files hold, to be enclosed. Tables of plugins that are not here are
    not in it: raises SetupError then.
    """
    check_target(target)
    with _scratch(target.parent) as path:
        copy = SqliteDatabase.open(path, reserve_bytes=0)
        try:
            async with hold_snapshot(db) as snapshot:
                done = await copy_house(snapshot, copy, sets_of)
            if done.left:
                raise SetupError(
                    f"The database also holds tables of {', '.join(done.left)}, which is not installed here or not on;"
                    " a backup without them would not be one. Install it, or use pg_dump."
                )
        finally:
            await copy.close()
        return await asyncio.to_thread(make_backup, path, target, version, read)


async def restore_shared(
    source: Path, db: Database, sets_of: SetsOf, scratch: Path, put_files: Callable[[], Awaitable[None]]
) -> Restored:
    """Fill an empty database from a backup, made on either engine. Raises SetupError for a damaged or newer one, and
    for a database that holds something: what is there is never overwritten. Broken off, it goes on when it is repeated.

    scratch: a folder with room for a copy of the backup. put_files: puts back what files hold, before the rows that
    name it.
    """
    found = check_backup(source, sets_of("sqlite"))
    await open_target(db, sets_of, "sqlite", resumes=True)
    await put_files()
    with _scratch(scratch) as path:
        shutil.copyfile(source, path)
        copy = SqliteDatabase.open(path, reserve_bytes=0)
        try:
            await copy.migrate(sets_of("sqlite"))
            await copy_house(copy, db, sets_of, resumes=True)
        finally:
            await copy.close()
    return Restored(found, None)


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A database file for the time being, on the disk where there must be room anyway. Raises StorageFull, with that
    disk's folder, when there is none."""
    beside.mkdir(parents=True, exist_ok=True, mode=0o700)
    _clear_left(beside)
    try:
        with tempfile.TemporaryDirectory(prefix=PREFIX, dir=beside) as folder, hold_lock(Path(folder) / NAME):
            yield Path(folder) / NAME
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise StorageFull(f"There is no room for a copy of the database in {beside}. Free some space.") from error


def _clear_left(beside: Path) -> None:
    """Take away what a process put there that died over it: a copy of everything should not lie about."""
    for folder in beside.glob(f"{PREFIX}*"):
        if folder.stat().st_mtime_ns // 1_000 > now_us() - LEFT_US:  # perhaps it is only just being made
            continue
        with contextlib.suppress(SetupError):  # somebody else is at it
            hold_lock(folder / NAME).release()
            shutil.rmtree(folder, ignore_errors=True)
