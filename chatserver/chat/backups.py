"""Make a backup, look whether one (or the live database) is sound, and put one back; on SQLite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from chatserver.chat.doctor import examine
from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.store.backups import DatabaseFile, Manifest, check_target, make_backup, put_in_place

Sets = list[tuple[str, list[Migration]]]

__all__ = ["Manifest", "Restored", "Soundness", "check_backup", "check_target", "inspect", "make_backup", "restore"]


class Soundness(msgspec.Struct, frozen=True):
    """What was found in a database file. manifest None: it has none. waiting: migrations it has not been through."""

    problems: tuple[str, ...]
    manifest: Manifest | None
    waiting: tuple[str, ...]


class Restored(msgspec.Struct, frozen=True):
    """kept: where the database from before is, None when there was none."""

    found: Soundness
    kept: Path | None


async def inspect(path: Path, sets: Sets, *, is_live: bool) -> Soundness:
    """Read all of a database file, and of its manifest if it is a backup. Raises SetupError for what is no database of
    ours, or a newer one. is_live: a server may be writing to it."""
    file = DatabaseFile(path, is_still=not is_live)
    try:
        problems = file.damage()
        manifest = None if is_live else file.manifest()
        if manifest is not None:
            problems += file.differences(manifest)
        waiting = file.waiting(sets)
        if not problems and not _of_core(waiting):
            problems += [finding.sentence for finding in await examine(file) if not finding.passes]
    finally:
        file.close()
    return Soundness(tuple(problems), manifest, tuple(waiting))


async def restore(source: Path, path: Path, sets: Sets) -> Restored:
    """Put a backup in the place of the database at `path`, whose lock the caller holds."""
    found = check_backup(source, sets)
    return Restored(found, put_in_place(source, path))


def check_backup(source: Path, sets: Sets) -> Soundness:
    """A damaged or newer backup is refused with SetupError; one with broken invariants is not: the doctor can mend
    them."""
    file = DatabaseFile(source, is_still=True)
    try:
        manifest = file.manifest()
        waiting = file.waiting(sets)
        problems = file.damage() or (file.differences(manifest) if manifest is not None else [])
    finally:
        file.close()
    if problems:
        raise SetupError(f"{source} is damaged and was not restored: {problems[0]}. Take another backup.")
    return Soundness((), manifest, tuple(waiting))


def _of_core(titles: Iterable[str]) -> bool:
    return any(title.startswith(("core/", "search/")) for title in titles)
