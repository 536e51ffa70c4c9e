"""Backups: made, put back, and read to the end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from chatserver import __version__
from chatserver.cli.base import commands, load_plugins, places, read_settings, require_database
from chatserver.cli.examining import examine_database, examine_files

if TYPE_CHECKING:
    from chatserver.chat.backups import Manifest, Restored
    from chatserver.plugins import Plugins
    from chatserver.settings import Settings


@commands.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-files", is_flag=True, help="Leave out what attached files hold.")
@places
def backup(file: Path, without_files: bool, data: str | None, config: str | None) -> None:
    """Copy the database, and what files hold, into FILE, as it is at one moment; also beside a running server.

    The secret key and the configuration are not in it: keep those apart.
    """
    settings = read_settings(data, config, makes_key=False)
    if not settings.database_url:
        require_database(settings)
    made = asyncio.run(_back_up(settings, file, with_files=not without_files))
    inside = f", {made.enclosed.contents} contents of files" if made.enclosed else ""
    click.echo(f"{file}: {made.rows} rows of {len(made.tables)} tables{inside}, {file.stat().st_size / 1e6:.1f} MB.")
    if made.enclosed and made.enclosed.missing:
        count = len(made.enclosed.missing)
        click.echo(
            f"{count} contents of files are missing where they should be: `chatserver verify` lists them.", err=True
        )
    click.echo(f"Not in it, and needed beside it: the secret key and {settings.config_file}.")


@commands.command()
@click.argument("file", type=click.Path(path_type=Path))
@places
def restore(file: Path, data: str | None, config: str | None) -> None:
    """Put a backup in the place of the database. The server must be stopped; the old database is kept.

    On PostgreSQL the database must be empty: make a fresh one, and let CHATSERVER_DATABASE_URL name it.
    """
    from chatserver.house import migration_sets
    from chatserver.store.lock import hold_lock

    settings = read_settings(data, config, makes_key=False)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.database_url:
        done = asyncio.run(_restore_shared(settings, file))
    else:
        sets = migration_sets("sqlite", load_plugins(settings, is_lenient=True))
        with hold_lock(settings.database_file):
            done = asyncio.run(_restore_file(settings, file, sets))
    where = "The database" if settings.database_url else settings.database_file
    click.echo(f"{where} is now what {file} holds{_told(done.found.manifest)}.")
    if done.found.waiting and not settings.database_url:
        click.echo(f"It is of an older version: {len(done.found.waiting)} migrations run at the next start.")
    if done.kept is not None:
        click.echo(f"The database from before is kept, until you delete it: {done.kept}")
    if done.found.manifest is not None and done.found.manifest.enclosed is None:
        click.echo("What files hold is not in this backup; it must be where it was.")


async def _back_up(settings: Settings, file: Path, *, with_files: bool) -> Manifest:
    from chatserver.chat.backups import make_backup
    from chatserver.chat.contents import reader_of
    from chatserver.chat.shared_backups import back_up_shared
    from chatserver.databases import open_blobs, open_database
    from chatserver.house import migration_sets

    plugins = load_plugins(settings, is_lenient=not settings.database_url)
    async with AsyncExitStack() as stack:
        read = None
        if with_files:
            blobs = await open_blobs(settings, plugins)
            stack.push_async_callback(blobs.close)
            read = reader_of(blobs)
        if not settings.database_url:
            return await asyncio.to_thread(make_backup, settings.database_file, file, __version__, read)
        db = await open_database(settings, plugins, alone=False)
        stack.push_async_callback(db.close)
        return await back_up_shared(db, file, lambda engine: migration_sets(engine, plugins), __version__, read)


async def _restore_file(settings: Settings, file: Path, sets: Any) -> Restored:
    """What files hold first: a database must never name what is not there yet."""
    from chatserver.chat.backups import check_backup, restore

    check_backup(file, sets)
    await _put_back(settings, file, load_plugins(settings, is_lenient=True))
    return await restore(file, settings.database_file, sets)


async def _put_back(settings: Settings, file: Path, plugins: Plugins) -> None:
    from chatserver.chat.contents import put_back
    from chatserver.databases import open_blobs

    blobs = await open_blobs(settings, plugins)
    try:
        if count := await put_back(file, blobs):
            click.echo(f"{count} contents of files are there.")
    finally:
        await blobs.close()


async def _restore_shared(settings: Settings, file: Path) -> Restored:
    from chatserver.chat.shared_backups import restore_shared
    from chatserver.databases import open_database
    from chatserver.house import migration_sets

    plugins = load_plugins(settings)
    db = await open_database(settings, plugins, alone=False)
    try:
        return await restore_shared(
            file,
            db,
            lambda engine: migration_sets(engine, plugins),
            settings.data_dir,
            lambda: _put_back(settings, file, plugins),
        )
    finally:
        await db.close()


@commands.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@places
def verify(file: Path | None, data: str | None, config: str | None) -> None:
    """Read all of the database and of what files hold, or of the backup FILE, and say whether it is sound. Exits 1 when
    it is not."""
    from chatserver.chat.backups import inspect
    from chatserver.house import migration_sets

    settings = read_settings(data, config, makes_key=False)
    plugins = load_plugins(settings, is_lenient=True)
    if file is None and settings.database_url:  # its pages are that database's own business, the invariants ours
        if not asyncio.run(examine_database(settings, plugins, repair=False, reads_files=True)):
            raise click.exceptions.Exit(1)
        return
    if file is None:
        require_database(settings)
    path = file or settings.database_file
    sets = migration_sets("sqlite", plugins)
    found = asyncio.run(inspect(path, sets, is_live=file is None))
    if file is not None and found.manifest is None:
        click.echo("It has no manifest, so only the file itself was checked.")
    if found.waiting:
        click.echo(f"It is of an older version: {len(found.waiting)} migrations are to run.")
    for problem in found.problems:
        click.echo(f"broken: {problem}")
    if found.problems:
        click.echo(f"{path} is not sound: {len(found.problems)} problems.", err=True)
        raise click.exceptions.Exit(1)
    click.echo(f"{path} is sound{_told(found.manifest)}.")
    if file is None and not found.waiting and not asyncio.run(examine_files(settings, plugins, reads_all=True)):
        raise click.exceptions.Exit(1)


def _told(manifest: Manifest | None) -> str:
    if manifest is None:
        return ""
    made = datetime.fromtimestamp(manifest.made_at // 1_000_000, UTC)
    return f": {manifest.rows} rows, made by version {manifest.version} on {made:%Y-%m-%d at %H:%M:%S} UTC"
