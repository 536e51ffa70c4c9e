"""Everything into another database, and conversations out of this one and in."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from chatserver import __version__
from chatserver.cli.base import account_of, commands, load_plugins, open_contents, places, read_settings, with_database
from chatserver.errors import SetupError

if TYPE_CHECKING:
    from chatserver.chat.accounts import Accounts
    from chatserver.chat.import_files import ImportFile
    from chatserver.chat.imports import ImportReport
    from chatserver.domain.access import Actor
    from chatserver.plugins import Plugins
    from chatserver.settings import Settings
    from chatserver.store.database import Database


@commands.command("copy")
@click.option("--to", "url", default="", metavar="URL", help="postgresql://… or sqlite:///FILE, empty.")
@click.option(
    "--files", default="", metavar="URL", help="What files hold goes to file:///FOLDER or s3://BUCKET/PREFIX."
)
@click.option("--resume", is_flag=True, help="Go on with a copy that was not finished.")
@places
def copy_database(url: str, files: str, resume: bool, data: str | None, config: str | None) -> None:
    """Copy everything into another database, of either kind. No server may run on this one meanwhile.

    What files hold goes beside a SQLite target, or where --files says; given alone, only that is copied.

    Every table of the core and of the plugins that are on is copied and then compared, row by row. Killed or cut off,
    it goes on where it was with --resume; before it is complete the target is served by nobody.
    """
    from chatserver.databases import has_database, holding, sqlite_path
    from chatserver.store.lock import hold_lock

    settings = read_settings(data, config, makes_key=False)
    if not has_database(settings):
        raise SetupError(f"There is no database in {settings.data_dir} yet; serve makes it.")
    if not url and not files:
        raise click.UsageError("Say where to: --to URL, --files URL, or both.")
    file = sqlite_path(url) if url else None
    if url == settings.database_url or (file == settings.database_file and not settings.database_url):
        raise SetupError("The target is the database itself. Name another.")
    if settings.database_url:
        click.echo("Nothing here can tell whether a server still writes to this database: stop every node first.")
    with holding(settings), hold_lock(file) if file else nullcontext():
        left = asyncio.run(_copy(settings, url, files, resume))
    if not url:
        click.echo(f"From now on CHATSERVER_BLOB_URL={files} serves them.")
        return
    for name in left:
        click.echo(f"Not copied: the tables of {name}, which is not installed here or not on.")
    click.echo("The secret key and the configuration are not in it: the new place needs the same ones.")


async def _copy(settings: Settings, url: str, files: str, resume: bool) -> tuple[str, ...]:
    """The sets that were left, because their plugins are not here."""
    from chatserver.chat.contents import copy_contents
    from chatserver.chat.copying import copy_house
    from chatserver.databases import open_blobs, open_database, open_target, open_target_blobs
    from chatserver.house import migration_sets

    plugins = load_plugins(settings)
    async with AsyncExitStack() as stack:
        source = await open_database(settings, plugins, alone=False)
        stack.push_async_callback(source.close)
        store = await open_blobs(settings, plugins)
        stack.push_async_callback(store.close)
        target_store = await open_target_blobs(url, files, plugins)
        if target_store is not None:
            stack.push_async_callback(target_store.close)
            await copy_contents(source, store, target_store, click.echo)
        else:
            where = settings.blob_url or f"file://{settings.data_dir / 'blobs'}"
            click.echo(f"What files hold stays where it is: the new place needs CHATSERVER_BLOB_URL={where}")
        if not url:
            return ()
        target = await open_target(url, plugins)
        stack.push_async_callback(target.close)
        done = await copy_house(
            source, target, lambda engine: migration_sets(engine, plugins), resumes=resume, tell=click.echo
        )
    click.echo(f"{done.rows} rows of {len(done.tables)} tables, equal on both sides.")
    return done.left


@commands.command("export")
@click.option("--account", "email", metavar="EMAIL", help="Only this account's conversations. [default: everybody's]")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="[default: standard output]")
@places
def export_chats(email: str | None, out: Path | None, data: str | None, config: str | None) -> None:
    """Write conversations as JSON Lines, whole trees; also beside a running server."""

    async def run(db: Database, plugins: Plugins, settings: Settings) -> None:
        from chatserver.chat.accounts import Accounts
        from chatserver.chat.exports import Exports

        accounts = Accounts(db, plugins, settings.secret_key)
        chosen = [await account_of(accounts, email)] if email else await accounts.list()
        async with open_contents(db, plugins, settings) as blobs:
            exports = Exports(db, f"chatserver {__version__}", blobs)
            with _writing(out) as file:
                async for piece in exports.export(chosen):
                    file.write(piece)
        told = exports.written
        files = f" and {told.files} files" if told.files else ""
        click.echo(f"{told.conversations} conversations with {told.messages} messages{files}.", err=True)

    with_database(data, config, run)


@commands.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--account", "email", metavar="EMAIL", help="Whose they become. [default: whose the file says they are]")
@places
def import_chats(file: Path, email: str | None, data: str | None, config: str | None) -> None:
    """Take in conversations from FILE: an export of chatserver, or of a program an importer knows.

    What is here already is not taken twice, and a damaged file changes nothing.
    """

    async def run(db: Database, plugins: Plugins, settings: Settings) -> None:
        from chatserver.chat.accounts import Accounts
        from chatserver.chat.files import Files
        from chatserver.chat.import_files import ImportFile
        from chatserver.chat.imports import survey, take_file

        source = ImportFile(file, [one for _, one in plugins.registered("register_importers")])
        found = survey(source)
        actors = await _receivers(Accounts(db, plugins, settings.secret_key), email, found.emails)
        async with open_contents(db, plugins, settings) as blobs:
            reports = await take_file(db, source, actors, Files(db, blobs, {}))
        if not found.conversations:
            click.echo(f"{file} holds no conversations.")
        for name, report in reports.items():
            _say_imported(source, actors[name].account.email, report)

    with_database(data, config, run)


async def _receivers(accounts: Accounts, email: str | None, told: set[str]) -> dict[str, Actor]:
    """Who gets what: by the addresses in the file, '' for conversations without one."""
    from chatserver.domain.access import Actor

    if email is not None:
        receiver = Actor(await account_of(accounts, email), "job")
        if len(told) > 1:
            if receiver.account.email not in told:
                raise SetupError(f"The file holds several accounts' conversations, and none of {email}.")
            return {receiver.account.email: receiver}
        return dict.fromkeys({*told, ""}, receiver)
    if not told:
        raise click.UsageError("Say whose the conversations become: --account EMAIL.")
    found = {one: await accounts.by_email(one) for one in sorted(told)}
    missing = [one for one, account in found.items() if account is None]
    if missing:
        names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
        raise SetupError(f"There is no account for {names}. Make it first, or name another with --account.")
    return {one: Actor(account, "job") for one, account in found.items() if account is not None}


def _say_imported(source: ImportFile, email: str, report: ImportReport) -> None:
    if not any((report.new, report.grown, report.there, report.left_deleted, report.files)):
        return
    click.echo(f"{source.title} → {email}: {report.new} new conversations, {report.messages} messages.")
    if report.files:
        click.echo(f"{report.files} files came along.")
    if report.grown:
        click.echo(f"{report.grown} conversations that were here got what they lacked.")
    if report.there:
        click.echo(f"{report.there} conversations were here already.")
    if report.left_deleted:
        click.echo(f"{report.left_deleted} messages were deleted here since, and stay so.")
    for note, count in report.notes.most_common():
        click.echo(f"Not taken as it was, {count} ×: {note}")
    if source.left:
        rest = f" and {len(source.left) - 5} more" if len(source.left) > 5 else ""
        click.echo(f"Not taken, files that hold no chats: {', '.join(source.left[:5])}{rest}")


@contextmanager
def _writing(out: Path | None) -> Iterator[BinaryIO]:
    """Standard output, or a file that appears when it is complete."""
    if out is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except BrokenPipeError:  # whoever read it has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if out.exists() and not out.is_file():  # a pipe or a device: nothing takes its place
        with out.open("wb") as stream:
            yield stream
        return
    part = out.with_name(out.name + ".part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(out)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
