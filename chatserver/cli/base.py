"""What commands are built from: their options, the settings, and the stored data beside a running server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from chatserver import __version__
from chatserver.errors import SetupError

if TYPE_CHECKING:
    from chatserver.chat.accounts import Accounts
    from chatserver.chat.blobs import Blobs
    from chatserver.domain.access import Account
    from chatserver.plugins import Plugins
    from chatserver.settings import Settings
    from chatserver.store.database import Database

F = TypeVar("F", bound=Callable[..., Any])


def places(function: F) -> F:
    """`--data` and `--config`, which every command takes."""
    data = click.option("--data", metavar="DIR", help="Where everything is kept. [env: CHATSERVER_DATA]")
    config = click.option("--config", metavar="FILE", help="The configuration file. [env: CHATSERVER_CONFIG]")
    return data(config(function))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="chatserver")
def commands() -> None:
    """An AI chat server to host yourself."""


def read_settings(data: str | None, config: str | None, *, makes_key: bool = True, **options: Any) -> Settings:
    from chatserver import settings

    return settings.load({"data": data, "config": config, **options}, makes_key=makes_key)


def load_plugins(settings: Settings, *, is_lenient: bool = False) -> Plugins:
    from chatserver.plugins import Plugins

    return Plugins.load(
        settings.plugins_enabled,
        settings.plugins_disabled,
        __version__,
        settings.for_plugin,
        is_lenient=is_lenient,
    )


def with_accounts(data: str | None, config: str | None, function: Callable[[Accounts], Any]) -> Any:
    """Run a function of the accounts on the stored data, beside a running server or on a machine that has none yet."""
    settings = read_settings(data, config)

    async def run() -> Any:
        async with _open_beside(settings) as (db, plugins):
            from chatserver.chat.accounts import Accounts

            return await function(Accounts(db, plugins, settings.secret_key))

    return asyncio.run(run())


def with_database(
    data: str | None, config: str | None, function: Callable[[Database, Plugins, Settings], Awaitable[None]]
) -> None:
    """Run a function on the stored data, beside a running server or without one."""
    settings = read_settings(data, config)

    async def run() -> None:
        async with _open_beside(settings) as (db, plugins):
            await function(db, plugins, settings)

    asyncio.run(run())


@asynccontextmanager
async def open_contents(db: Database, plugins: Plugins, settings: Settings) -> AsyncIterator[Blobs]:
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
    from chatserver import logs
    from chatserver.databases import open_database

    logs.configure("warning", settings.log_format)  # standard output is for what was asked
    plugins = load_plugins(settings)
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


async def account_of(accounts: Accounts, email: str) -> Account:
    found = await accounts.by_email(email)
    if found is None:
        raise SetupError(f"There is no account with the address {email}.")
    return found


def require_database(settings: Settings) -> None:
    if not settings.database_file.exists():
        raise SetupError(f"There is no database in {settings.data_dir} yet; serve makes it.")
