"""The command line: reads the settings, builds what a command needs, and says in one sentence what went wrong."""

from __future__ import annotations

import asyncio
import gc
import os
import shlex
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from chatserver import __version__
from chatserver.errors import ChatserverError, SetupError

if TYPE_CHECKING:
    from chatserver.chat.accounts import Accounts
    from chatserver.chat.backups import Manifest, Restored
    from chatserver.chat.blobs import Blobs
    from chatserver.chat.import_files import ImportFile
    from chatserver.chat.imports import ImportReport
    from chatserver.domain.access import Account, Actor
    from chatserver.house import House
    from chatserver.plugins import Plugins
    from chatserver.settings import Settings
    from chatserver.store.database import Database

F = TypeVar("F", bound=Callable[..., Any])


def main() -> None:
    """Exit 0, or with a sentence on standard error."""
    try:
        # Not standalone, click hands back the status of an Exit instead of ending the process.
        raise SystemExit(commands(standalone_mode=False, prog_name="chatserver") or 0)
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except ChatserverError as error:
        click.echo(error.message, err=True)
        raise SystemExit(1) from None
    except OSError as error:
        click.echo(f"{error.filename or 'The system'}: {error.strerror or error}", err=True)
        raise SystemExit(1) from None


def places(function: F) -> F:
    """`--data` and `--config`, which every command takes."""
    data = click.option("--data", metavar="DIR", help="Where everything is kept. [env: CHATSERVER_DATA]")
    config = click.option("--config", metavar="FILE", help="The configuration file. [env: CHATSERVER_CONFIG]")
    return data(config(function))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chatserver")
def commands() -> None:
    """An AI chat server to host yourself."""


# --- serving --------------------------------------------------------------------------------------------------------


@commands.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen. [default: 127.0.0.1; env: CHATSERVER_HOST]")
@click.option("--port", type=int, help="[default: 8000; env: CHATSERVER_PORT]")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes; SQLite takes one. [default: 1]")
@places
def serve(host: str | None, port: int | None, workers: int, data: str | None, config: str | None) -> None:
    """Serve the chat until told to stop."""
    from chatserver import logs
    from chatserver.settings import check_public

    settings = _settings(data, config, host=host, port=port)
    logs.configure()
    check_public(settings)
    if workers > 1 and not settings.database_url:
        raise SetupError("On SQLite one process serves: leave --workers away, or set CHATSERVER_DATABASE_URL.")
    _serve(settings, workers)


def _serve(settings: Settings, workers: int) -> None:
    import uvloop

    from chatserver.databases import holding
    from chatserver.web.server import bind
    from chatserver.workers import CANNOT_START, supervise

    plugins = _load_plugins(settings)

    def work(number: int, is_first: bool) -> int:
        speaks = number == 0 and is_first
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(_run_server(settings, plugins, listener, speaks=speaks))
            except ChatserverError as error:
                if workers == 1:
                    raise
                click.echo(error.message, err=True)
                return CANNOT_START
        return 0

    with holding(settings), bind(settings.host.strip("[]"), settings.port) as listener:
        code = work(0, True) if workers == 1 else supervise(workers, work)
    if code:
        raise click.exceptions.Exit(code)


def _settle_memory() -> None:
    """What is there after the start stays: the collector need not look at it again, nor so often at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


OTHER_KEY = (
    "The secret key ({source}) is not the one this database was served with before. Processes that share a database"
    " need the same one: set CHATSERVER_SECRET_KEY everywhere. If you changed it on purpose, all is well."
)


async def _run_server(settings: Settings, plugins: Plugins, listener: socket.socket, *, speaks: bool) -> None:
    """speaks: say where it is and how to begin; of several workers one does."""
    import msgspec

    from chatserver.databases import SPOOL, open_blobs, open_bus, open_database
    from chatserver.gateway.egress import EgressClient
    from chatserver.house import House, migration_sets
    from chatserver.web import server

    db = await open_database(settings, plugins, alone=True)
    http = EgressClient()
    bus = blobs = None
    try:
        blobs = await open_blobs(settings, plugins)
        for title in await db.migrate(migration_sets(db.engine, plugins)):
            click.echo(f"Migrated:      {title}")
        bus = await open_bus(settings, plugins)
        house = House(
            db=db,
            plugins=plugins,
            http=http,
            channels=settings.channels,
            limits=msgspec.structs.asdict(settings.limits),
            secret_key=settings.secret_key,
            public_url=settings.public_url,
            trusted_proxies=settings.trusted_proxies,
            grace_s=settings.grace_s,
            bus=bus,
            blob_store=blobs,
            spool=settings.data_dir / SPOOL,
        )
        try:
            await house.start()
            if db.is_shared and not await house.accounts.keep_key_mark():
                click.echo(OTHER_KEY.format(source=settings.source_of("secret_key")), err=True)
            _settle_memory()
            if speaks:
                await _say_where(settings, house, listener.getsockname()[1])
            await server.serve(house, listener)
        finally:
            await house.stop()
    finally:
        if bus is not None:
            await bus.close()
        if blobs is not None:
            await blobs.close()
        await http.close()
        await db.close()


FOLDER_OF_ITS_OWN = (
    "Files are kept in {folder}: nodes on other machines need the same folder, or CHATSERVER_BLOB_URL everywhere."
)


async def _say_where(settings: Settings, house: House, port: int) -> None:
    host = f"[{settings.host.strip('[]')}]" if ":" in settings.host else settings.host
    here = settings.public_url or f"http://{host}:{port}"
    places = f"--data {shlex.quote(str(settings.data_dir))} --config {shlex.quote(str(settings.config_file))}"
    click.echo(f"chatserver {__version__} on {here}")
    click.echo(f"Data:          {settings.data_dir}")
    click.echo(f"Configuration: {settings.config_file}")
    if settings.database_url and not settings.blob_url:
        click.echo(FOLDER_OF_ITS_OWN.format(folder=settings.data_dir / "blobs"), err=True)
    click.echo(f"An account:    {_own_command()} account create --email YOU@EXAMPLE.ORG {places}")
    token = await house.accounts.mint_setup_token()
    if token is not None:
        click.echo(f"\nOpen this link, once, to make the first account:\n  {here}/setup/{token}\n")


def _own_command() -> str:
    """How this program can be called again from anywhere."""
    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    if called.name == "chatserver" and found and Path(found).samefile(shutil.which(sys.argv[0]) or found):
        return "chatserver"
    if called.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m chatserver"
    return shlex.quote(str(called.absolute()))


# --- looking after a server -----------------------------------------------------------------------------------------


@commands.command()
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@places
def migrate(plan: bool, data: str | None, config: str | None) -> None:
    """Bring the database up to date; serve does it by itself."""
    from chatserver.databases import has_database, holding, open_database
    from chatserver.house import migration_sets

    settings = _settings(data, config)
    plugins = _load_plugins(settings)
    if plan and not has_database(settings):
        click.echo("There is no database yet; serve makes it.")
        return

    async def run() -> list[str]:
        db = await open_database(settings, plugins, alone=not plan)
        try:
            sets = migration_sets(db.engine, plugins)
            return await (db.plan(sets) if plan else db.migrate(sets))
        finally:
            await db.close()

    if plan:
        titles = asyncio.run(run())
    else:
        with holding(settings):
            titles = asyncio.run(run())
    for title in titles:
        click.echo(title)
    click.echo(f"{len(titles)} {'to run' if plan else 'run'}." if titles else "Nothing to do.")


@commands.command("plugins")
@places
def list_plugins(data: str | None, config: str | None) -> None:
    """List what is installed: what is on, and what waits to be allowed."""
    settings = _settings(data, config, makes_key=False)
    for line in _load_plugins(settings, is_lenient=True).report():
        origin = f"{line.distribution} {line.version}".strip() or "-"
        fingerprint = f"  {line.fingerprint}" if line.fingerprint else ""
        click.echo(f"{line.name:<14} {line.state:<18} {origin}{fingerprint}")
        if line.reason:
            click.echo(f"{'':<14} {line.reason}")


@commands.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@places
def doctor(repair: bool, data: str | None, config: str | None) -> None:
    """Look for what is wrong. Exits 1 only when something that must always hold does not."""
    from chatserver.databases import has_database

    settings = _settings(data, config, makes_key=False)
    plugins = _load_plugins(settings, is_lenient=True)
    _say_installed(plugins)
    click.echo(f"data: {settings.data_dir}")
    if not has_database(settings):
        click.echo("database: none yet; serve makes it.")
        return
    if not asyncio.run(_examine(settings, plugins, repair=repair)):
        raise click.exceptions.Exit(1)


def _say_installed(plugins: Plugins) -> None:
    from chatserver.plugins.drift import changed_files, path_files

    for line in plugins.report():
        click.echo(f"plugin {line.name}: {line.state}, {line.distribution} {line.version} {line.fingerprint}".rstrip())
        if line.reason:
            click.echo(f"  {line.reason}")
        for changed in changed_files(line.distribution) if line.distribution else ():
            click.echo(f"  changed since it was installed: {changed}")
    for path in path_files():
        click.echo(f"runs at every start of this Python: {path}")


async def _examine(settings: Settings, plugins: Plugins, *, repair: bool, reads_files: bool = False) -> bool:
    """Whether all invariants hold, at the end."""
    from chatserver.chat.doctor import examine
    from chatserver.databases import open_database
    from chatserver.house import migration_sets

    db = await open_database(settings, plugins, alone=False)
    try:
        waiting = await db.plan(migration_sets(db.engine, plugins))
        if waiting:
            click.echo(f"database: {len(waiting)} migrations are to run first; serve or migrate runs them.")
            return True
        findings = await examine(db, repair=repair)
    finally:
        await db.close()
    for finding in findings:
        click.echo(f"{'mended' if finding.mended else 'broken'}: {finding.sentence} ({finding.kind})")
    broken = sum(not finding.mended for finding in findings)
    click.echo(f"database: {broken} broken" if broken else "database: all is well")
    return await _examine_files(settings, plugins, repair=repair, reads_all=reads_files) and not broken


async def _examine_files(
    settings: Settings, plugins: Plugins, *, repair: bool = False, reads_all: bool = False
) -> bool:
    """Whether the store has what files hold."""
    from chatserver.chat.contents import remove_strays, take_stock
    from chatserver.databases import open_blobs, open_database

    async with AsyncExitStack() as stack:
        blobs = await open_blobs(settings, plugins)
        stack.push_async_callback(blobs.close)
        db = await open_database(settings, plugins, alone=False)
        stack.push_async_callback(db.close)
        stock = await take_stock(db, blobs, reads_all=reads_all)
        for finding in stock.findings:
            click.echo(f"broken: {finding.sentence} ({finding.kind})")
        if stock.findings:
            click.echo(f"files: {len(stock.findings)} of {stock.contents} contents are broken")
        elif stock.contents:
            click.echo(f"files: all is well, {stock.contents} contents of {stock.size_bytes / 1e6:.1f} MB")
        if stock.strays and repair:
            await remove_strays(db, blobs, stock)
            click.echo(f"mended: {len(stock.strays)} contents that belong to nothing were removed")
        elif stock.strays:
            click.echo(
                f"files: {len(stock.strays)} contents ({stock.stray_bytes / 1e6:.1f} MB) in the store belong to nothing"
                " in this database; `chatserver doctor --repair` removes them"
            )
    return not stock.findings


# --- nothing lost ---------------------------------------------------------------------------------------------------


@commands.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--without-files", is_flag=True, help="Leave out what attached files hold.")
@places
def backup(file: Path, without_files: bool, data: str | None, config: str | None) -> None:
    """Copy the database, and what files hold, into FILE, as it is at one moment; also beside a running server.

    The secret key and the configuration are not in it: keep those apart.
    """
    settings = _settings(data, config, makes_key=False)
    if not settings.database_url:
        _require_database(settings)
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

    settings = _settings(data, config, makes_key=False)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.database_url:
        done = asyncio.run(_restore_shared(settings, file))
    else:
        sets = migration_sets("sqlite", _load_plugins(settings, is_lenient=True))
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

    plugins = _load_plugins(settings, is_lenient=not settings.database_url)
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
    await _put_back(settings, file, _load_plugins(settings, is_lenient=True))
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
    from chatserver.chat.backups import check_backup
    from chatserver.chat.shared_backups import restore_shared
    from chatserver.databases import open_database
    from chatserver.house import migration_sets

    plugins = _load_plugins(settings)
    check_backup(file, migration_sets("sqlite", plugins))
    await _put_back(settings, file, plugins)
    db = await open_database(settings, plugins, alone=False)
    try:
        return await restore_shared(file, db, lambda engine: migration_sets(engine, plugins), scratch=settings.data_dir)
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

    settings = _settings(data, config, makes_key=False)
    plugins = _load_plugins(settings, is_lenient=True)
    if file is None and settings.database_url:  # its pages are that database's own business, the invariants ours
        if not asyncio.run(_examine(settings, plugins, repair=False, reads_files=True)):
            raise click.exceptions.Exit(1)
        return
    if file is None:
        _require_database(settings)
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
    if file is None and not found.waiting and not asyncio.run(_examine_files(settings, plugins, reads_all=True)):
        raise click.exceptions.Exit(1)


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

    settings = _settings(data, config, makes_key=False)
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

    plugins = _load_plugins(settings)
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
        chosen = [await _account_of(accounts, email)] if email else await accounts.list()
        async with _open_contents(db, plugins, settings) as blobs:
            exports = Exports(db, f"chatserver {__version__}", blobs)
            with _writing(out) as file:
                async for piece in exports.export(chosen):
                    file.write(piece)
        told = exports.written
        files = f" and {told.files} files" if told.files else ""
        click.echo(f"{told.conversations} conversations with {told.messages} messages{files}.", err=True)

    _with_database(data, config, run)


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
        async with _open_contents(db, plugins, settings) as blobs:
            reports = await take_file(db, source, actors, Files(db, blobs, {}))
        if not found.conversations:
            click.echo(f"{file} holds no conversations.")
        for name, report in reports.items():
            _say_imported(source, actors[name].account.email, report)

    _with_database(data, config, run)


async def _receivers(accounts: Accounts, email: str | None, told: set[str]) -> dict[str, Actor]:
    """Who gets what: by the addresses in the file, '' for conversations without one."""
    from chatserver.domain.access import Actor

    if email is not None:
        receiver = Actor(await _account_of(accounts, email), "job")
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


def _told(manifest: Manifest | None) -> str:
    if manifest is None:
        return ""
    made = datetime.fromtimestamp(manifest.made_at // 1_000_000, UTC)
    return f": {manifest.rows} rows, made by version {manifest.version} on {made:%Y-%m-%d at %H:%M:%S} UTC"


def _require_database(settings: Settings) -> None:
    if not settings.database_file.exists():
        raise SetupError(f"There is no database in {settings.data_dir} yet; serve makes it.")


# --- accounts -------------------------------------------------------------------------------------------------------

ROLES = click.Choice(["admin", "member"])
STATES = click.Choice(["active", "suspended", "disabled"])


@commands.group()
def account() -> None:
    """Make and change accounts, also beside a running server."""


@account.command("create")
@click.option("--email", required=True)
@click.option("--name", default="")
@click.option("--role", type=ROLES, default="member", show_default=True)
@click.option("--groups", default="default", show_default=True, metavar="A,B")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@places
def create_account(
    email: str, name: str, role: str, groups: str, password_stdin: bool, data: str | None, config: str | None
) -> None:
    """Make an account. Without a password it cannot sign in, but may hold API keys."""
    secret = _read_password(password_stdin, asks=True)

    async def run(accounts: Accounts) -> Account:
        return await accounts.create(email, name=name, role=role, groups=_groups(groups), secret=secret)  # type: ignore[arg-type]

    made = _with_accounts(data, config, run)
    without = "" if secret else ", without a password"
    click.echo(f"{made.email} is now {'an admin' if made.role == 'admin' else 'a member'}{without}.")


@account.command("update")
@click.option("--email", required=True)
@click.option("--name")
@click.option("--role", type=ROLES)
@click.option("--state", type=STATES)
@click.option("--groups", metavar="A,B")
@click.option("--password-stdin", is_flag=True, help="Read a new password from standard input.")
@places
def update_account(
    email: str,
    name: str | None,
    role: str | None,
    state: str | None,
    groups: str | None,
    password_stdin: bool,
    data: str | None,
    config: str | None,
) -> None:
    """Change an account."""
    secret = _read_password(password_stdin, asks=False)
    changes: dict[str, Any] = {"name": name, "role": role, "state": state}
    changes["groups"] = None if groups is None else _groups(groups)
    given = {key: value for key, value in changes.items() if value is not None}

    async def run(accounts: Accounts) -> None:
        found = await _account_of(accounts, email)
        if given:
            await accounts.update(found.id, **given)
        if secret is not None:
            await accounts.set_secret(found.id, secret)

    if not given and secret is None:
        raise click.UsageError("Say what to change: --name, --role, --state, --groups or --password-stdin.")
    _with_accounts(data, config, run)
    click.echo(f"{email} was changed.")


@commands.group()
def key() -> None:
    """Make API keys."""


@key.command("create")
@click.option("--account", "email", required=True, metavar="EMAIL")
@click.option("--name", default="command line", show_default=True)
@places
def create_key(email: str, name: str, data: str | None, config: str | None) -> None:
    """Make an API key and print it, alone, on standard output. It is shown this once."""

    async def run(accounts: Accounts) -> str:
        return (await accounts.create_key(await _account_of(accounts, email), name)).secret

    click.echo(_with_accounts(data, config, run))


async def _account_of(accounts: Accounts, email: str) -> Account:
    found = await accounts.by_email(email)
    if found is None:
        raise SetupError(f"There is no account with the address {email}.")
    return found


def _groups(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _read_password(from_stdin: bool, *, asks: bool) -> str | None:
    if from_stdin:
        line = sys.stdin.readline()
        if not line.rstrip("\r\n"):
            raise SetupError("No password came on standard input.")
        return line.rstrip("\r\n")
    if asks and sys.stdin.isatty():
        return click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return None


# --- what commands are built from -----------------------------------------------------------------------------------

R = TypeVar("R")


def _settings(data: str | None, config: str | None, *, makes_key: bool = True, **options: Any) -> Settings:
    from chatserver import settings

    return settings.load({"data": data, "config": config, **options}, makes_key=makes_key)


def _load_plugins(settings: Settings, *, is_lenient: bool = False) -> Plugins:
    from chatserver.plugins import Plugins

    return Plugins.load(
        settings.plugins_enabled,
        settings.plugins_disabled,
        __version__,
        settings.for_plugin,
        is_lenient=is_lenient,
    )


def _with_accounts(data: str | None, config: str | None, function: Callable[[Accounts], Any]) -> Any:
    """Run a function of the accounts on the stored data, beside a running server or on a machine that has none yet."""
    settings = _settings(data, config)

    async def run() -> Any:
        async with _open_beside(settings) as (db, plugins):
            from chatserver.chat.accounts import Accounts

            return await function(Accounts(db, plugins, settings.secret_key))

    return asyncio.run(run())


def _with_database(
    data: str | None, config: str | None, function: Callable[[Database, Plugins, Settings], Awaitable[None]]
) -> None:
    """Run a function on the stored data, beside a running server or without one."""
    settings = _settings(data, config)

    async def run() -> None:
        async with _open_beside(settings) as (db, plugins):
            await function(db, plugins, settings)

    asyncio.run(run())


@asynccontextmanager
async def _open_contents(db: Database, plugins: Plugins, settings: Settings) -> AsyncIterator[Blobs]:
    """What files hold, beside a running server or without one."""
    from chatserver.chat.blobs import Blobs
    from chatserver.databases import SPOOL, open_blobs

    store = await open_blobs(settings, plugins)
    try:
        blobs = Blobs(db, store, settings.data_dir / SPOOL)
        await blobs.start()
        yield blobs
    finally:
        await store.close()


@asynccontextmanager
async def _open_beside(settings: Settings) -> AsyncIterator[tuple[Database, Plugins]]:
    from chatserver.databases import open_database

    plugins = _load_plugins(settings)
    await _migrate_if_needed(settings, plugins)
    db = await open_database(settings, plugins, alone=False)
    try:
        only = {name for name, _ in plugins.registered("register_auth_backends")}
        await plugins.start(db=db, only=only)
        yield db, plugins
        await plugins.stop()
    finally:
        await db.close()


async def _migrate_if_needed(settings: Settings, plugins: Plugins) -> None:
    """A running server has done it. Otherwise nobody may hold the lock, so we can."""
    from chatserver.databases import holding, open_database
    from chatserver.house import migration_sets

    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    db = await open_database(settings, plugins, alone=False)
    try:
        sets = migration_sets(db.engine, plugins)
        if await db.plan(sets):
            with holding(settings):
                await db.migrate(sets)
    finally:
        await db.close()


if __name__ == "__main__":
    main()
