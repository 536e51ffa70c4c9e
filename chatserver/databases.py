"""The database the settings name: opened, kept from a second server where a file allows but one, and woken by a bus."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from chatserver.domain.extend import Bus, BusKind, Engine
from chatserver.errors import SetupError
from chatserver.plugins import Plugins
from chatserver.settings import Settings
from chatserver.store.database import Database
from chatserver.store.lock import hold_lock


async def open_database(settings: Settings, plugins: Plugins, *, alone: bool) -> Database:
    """The database of the URL, else SQLite in the data folder. alone: see SqliteDatabase.open.

    Raises SetupError when no plugin serves the URL, or the database does not let us in.
    """
    if not settings.database_url:
        from chatserver.store.sqlite import SqliteDatabase

        return SqliteDatabase.open(settings.database_file, alone=alone)
    found = _find(plugins, "register_engines", settings.database_url)
    if found is None:
        raise SetupError(
            f"CHATSERVER_DATABASE_URL is set ({settings.source_of('database_url')}), and no installed plugin serves "
            "such a database; without it, SQLite in the data folder is used."
        )
    plugin, engine = found
    assert isinstance(engine, Engine)
    opened: Database = await engine.open(settings.database_url, plugins.settings_of(plugin))
    return opened


async def open_bus(settings: Settings, plugins: Plugins) -> Bus | None:
    """What wakes the other nodes; None on SQLite, which has none, and where no plugin brings one."""
    if not settings.database_url:
        return None
    for url in (settings.redis_url, settings.database_url):
        found = _find(plugins, "register_buses", url) if url else None
        if found is not None:
            plugin, kind = found
            assert isinstance(kind, BusKind)
            return await kind.open(url, plugins.settings_of(plugin))
    return None


@contextmanager
def holding(settings: Settings) -> Iterator[None]:
    """Keep a second server from one SQLite file; a database with a URL takes any number."""
    if settings.database_url:
        yield
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with hold_lock(settings.database_file):
        yield


def has_database(settings: Settings) -> bool:
    """Whether there is one to look into; who has a URL is told when it is opened."""
    return bool(settings.database_url) or settings.database_file.exists()


def _find(plugins: Plugins, hook: str, url: str) -> tuple[str, Any] | None:
    scheme = urlsplit(url).scheme.lower()
    return next(((name, one) for name, one in plugins.registered(hook) if scheme in one.schemes), None)
