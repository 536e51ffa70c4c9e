"""The database and the blob store the settings name: opened, kept from a second server where a file allows but one, and
woken by a bus."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from chatserver.domain.buses import Bus, BusKind
from chatserver.domain.extend import BlobKind, BlobStore, Engine
from chatserver.errors import SetupError
from chatserver.plugins import Plugins
from chatserver.settings import DATABASE_NAME, Settings
from chatserver.store.database import Database
from chatserver.store.folder import FolderStore
from chatserver.store.lock import hold_lock

log = logging.getLogger(__name__)

BLOBS, SPOOL = "blobs", "spool"
"""The folders in a data folder of what files hold, and of what is on its way there."""


async def open_database(settings: Settings, plugins: Plugins, *, alone: bool) -> Database:
    """The database of the URL, else SQLite in the data folder. alone: see SqliteDatabase.open.

    Raises SetupError when no plugin serves the URL, or the database does not let us in.
    """
    if not settings.database_url:
        from chatserver.store.sqlite import SqliteDatabase

        return SqliteDatabase.open(settings.database_file, alone=alone)
    opened = await _open_engine(settings.database_url, plugins)
    if opened is None:
        raise SetupError(
            f"{_named(settings, 'database_url')}: no installed plugin serves such a database; postgresql://… takes"
            " chatserver-postgres. Without the setting, SQLite in the data folder is used."
        )
    return opened


async def open_bus(settings: Settings, plugins: Plugins) -> Bus | None:
    """What wakes the other nodes; None on SQLite, which has none, and where no plugin brings one."""
    if not settings.database_url:
        return None
    for name, url in (("redis_url", settings.redis_url), ("database_url", settings.database_url)):
        found = _find(plugins, "register_buses", url) if url else None
        if found is not None:
            plugin, kind = found
            assert isinstance(kind, BusKind)
            return await kind.open(url, plugins.settings_of(plugin))
        if url and name == "redis_url":
            log.warning(
                "%s: no installed plugin serves it; redis://… takes chatserver-redis. Until then the database wakes the"
                " nodes.",
                _named(settings, name),
            )
    return None


async def open_blobs(settings: Settings, plugins: Plugins) -> BlobStore:
    """The store of CHATSERVER_BLOB_URL, else the folder `blobs` in the data folder. Raises SetupError."""
    if not settings.blob_url:
        return FolderStore(settings.data_dir / BLOBS)
    try:
        return await open_blob_url(settings.blob_url, plugins)
    except SetupError as error:
        raise SetupError(f"{_named(settings, 'blob_url')}: {error.message}") from error


def _named(settings: Settings, name: str) -> str:
    """A setting by its variable, and where else it was told."""
    variable, source = f"CHATSERVER_{name.upper()}", settings.source_of(name)
    return variable if source == variable else f"{variable} ({source})"


async def open_blob_url(url: str, plugins: Plugins) -> BlobStore:
    """The store a URL names: `file:///FOLDER`, or what a plugin serves. Raises SetupError."""
    parts = urlsplit(url)
    if parts.scheme.lower() == "file":
        if parts.netloc or not parts.path.strip("/"):
            raise SetupError("A folder is named as file:///srv/chat/blobs.")
        return FolderStore(Path(unquote(parts.path)))
    found = _find(plugins, "register_blob_stores", url)
    if found is None:
        raise SetupError(
            f"no installed plugin serves {parts.scheme or 'such a'}:// as a store of files; file:///FOLDER is always"
            " there, s3:// takes chatserver-s3."
        )
    plugin, kind = found
    assert isinstance(kind, BlobKind)
    return await kind.open(url, plugins.settings_of(plugin), plugins.secret_of(plugin))


async def open_target_blobs(url: str, files: str, plugins: Plugins) -> BlobStore | None:
    """Where a copy puts what files hold: the store that `files` names, else the folder beside a SQLite target; None:
    they stay. Raises SetupError."""
    if files:
        return await open_blob_url(files, plugins)
    path = sqlite_path(url)
    return FolderStore(path.parent / BLOBS) if path is not None else None


async def open_target(url: str, plugins: Plugins) -> Database:
    """The database a URL names, `sqlite:///…` included. Raises SetupError like open_database."""
    if path := sqlite_path(url):
        from chatserver.store.sqlite import SqliteDatabase

        return SqliteDatabase.open(path)
    opened = await _open_engine(url, plugins)
    if opened is None:
        raise SetupError("No installed plugin serves such a database; write sqlite:///FILE or postgresql://….")
    return opened


def sqlite_path(url: str) -> Path | None:
    """The file of `sqlite:///FILE`, or of `sqlite:///FOLDER` the one a server keeps there; None for another URL."""
    parts = urlsplit(url)
    if parts.scheme.lower() != "sqlite":
        return None
    path = Path(unquote(parts.netloc + "/" + parts.path.lstrip("/")) if parts.path else unquote(parts.netloc))
    return (path if path.suffix and not path.is_dir() else path / DATABASE_NAME).absolute()


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


async def _open_engine(url: str, plugins: Plugins) -> Database | None:
    """None where no plugin serves such a URL."""
    found = _find(plugins, "register_engines", url)
    if found is None:
        return None
    plugin, engine = found
    assert isinstance(engine, Engine)
    opened: Database = await engine.open(url, plugins.settings_of(plugin))
    return opened


def _find(plugins: Plugins, hook: str, url: str) -> tuple[str, Any] | None:
    scheme = urlsplit(url).scheme.lower()
    return next(((name, one) for name, one in plugins.registered(hook) if scheme in one.schemes), None)
