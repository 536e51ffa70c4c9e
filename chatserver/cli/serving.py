"""Serving the chat: from the settings to a server that says where it is, and its end."""

from __future__ import annotations

import asyncio
import gc
import shlex
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from chatserver import __version__
from chatserver.cli.base import commands, load_plugins, places, read_settings
from chatserver.errors import ChatserverError, SetupError

if TYPE_CHECKING:
    from chatserver.house import House
    from chatserver.plugins import Plugins
    from chatserver.settings import Settings
    from chatserver.web.siblings import Siblings


OTHER_KEY = (
    "The secret key ({source}) is not the one this database was served with before. Processes that share a database"
    " need the same one: set CHATSERVER_SECRET_KEY everywhere. If you changed it on purpose, all is well."
)


FOLDER_OF_ITS_OWN = (
    "Files are kept in {folder}: nodes on other machines need the same folder, or CHATSERVER_BLOB_URL everywhere."
)


@commands.command()
@click.option("--host", metavar="ADDRESS", help="Where to listen. [default: 127.0.0.1; env: CHATSERVER_HOST]")
@click.option("--port", type=int, help="[default: 8000; env: CHATSERVER_PORT]")
@click.option("--workers", type=click.IntRange(min=1), default=1, help="Processes; SQLite takes one. [default: 1]")
@places
def serve(host: str | None, port: int | None, workers: int, data: str | None, config: str | None) -> None:
    """Serve the chat until told to stop."""
    from chatserver import logs
    from chatserver.settings import check_public

    settings = read_settings(data, config, host=host, port=port)
    logs.configure(settings.log_level, settings.log_format)
    check_public(settings)
    if workers > 1 and not settings.database_url:
        raise SetupError("On SQLite one process serves: leave --workers away, or set CHATSERVER_DATABASE_URL.")
    _serve(settings, workers)


def _serve(settings: Settings, workers: int) -> None:
    import uvloop

    from chatserver.databases import holding
    from chatserver.web.server import bind
    from chatserver.web.siblings import Siblings
    from chatserver.workers import CANNOT_START, supervise

    plugins = load_plugins(settings)

    def work(number: int, is_first: bool) -> int:
        speaks = number == 0 and is_first
        siblings = Siblings(folder, number) if workers > 1 else None
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(_run_server(settings, plugins, listener, siblings, speaks=speaks))
            except ChatserverError as error:
                if workers == 1:
                    raise
                click.echo(error.message, err=True)
                return CANNOT_START
        return 0

    with (
        holding(settings),
        bind(settings.host.strip("[]"), settings.port) as listener,
        tempfile.TemporaryDirectory(prefix="chatserver-") as place,
    ):
        folder = Path(place)
        code = work(0, True) if workers == 1 else supervise(workers, work)
    if code:
        raise click.exceptions.Exit(code)


def _settle_memory() -> None:
    """What is there after the start stays: the collector need not look at it again, nor so often at what comes."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _run_server(
    settings: Settings, plugins: Plugins, listener: socket.socket, siblings: Siblings | None, *, speaks: bool
) -> None:
    """speaks: say where it is and how to begin; of several workers one does."""
    import msgspec

    from chatserver import logs
    from chatserver.databases import SPOOL, open_blobs, open_bus, open_database
    from chatserver.gateway.egress import EgressClient
    from chatserver.house import House, migration_sets
    from chatserver.sources import setting_lines
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
            settings=setting_lines(settings, plugins.declared_settings()),
            knobs={"log_level": lambda level: logs.configure(level, settings.log_format)},
        )
        try:
            await house.start()
            if db.is_shared and not await house.accounts.keep_key_mark():
                click.echo(OTHER_KEY.format(source=settings.source_of("secret_key")), err=True)
            _settle_memory()
            if speaks:
                await _say_where(settings, house, listener.getsockname()[1])
            await server.serve(house, listener, siblings)
        finally:
            await house.stop()
    finally:
        if bus is not None:
            await bus.close()
        if blobs is not None:
            await blobs.close()
        await http.close()
        await db.close()


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
