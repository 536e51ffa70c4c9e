"""Both engines for the tests: an open database, empty or with the whole schema, each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from chatserver.store import search
from chatserver.store.database import Database
from chatserver.store.schema import CORE
from chatserver.store.sqlite import SqliteDatabase
from chatserver.testing.postgres import PostgresServer

ENGINES = ["sqlite", "postgres"]
TEMPLATE = "template_chat"


def open_sqlite(path: Path) -> SqliteDatabase:
    return SqliteDatabase.open(path, reserve_bytes=1_000_000)


async def open_postgres(url: str) -> Database:
    from chatserver_postgres.database import PostgresDatabase

    return await PostgresDatabase.open(url, connections=6)


async def with_schema(db: Database) -> Database:
    await db.migrate([("core", CORE), ("search", search.migrations(db.engine))])
    return db


async def schema_template(server: PostgresServer) -> str:
    """The name of a database with the whole schema, made once, to be copied: quicker than migrating each time."""
    if not server.execute(f"SELECT 1 FROM pg_database WHERE datname = '{TEMPLATE}'"):
        server.execute(f"CREATE DATABASE {TEMPLATE}")
        db = await with_schema(await open_postgres(server.url(TEMPLATE)))
        await db.close()
    return TEMPLATE


@asynccontextmanager
async def postgres_with_schema(server: PostgresServer) -> AsyncIterator[str]:
    """The URL of a fresh database with the whole schema."""
    name = server.create(await schema_template(server))
    try:
        yield server.url(name)
    finally:
        server.drop(name)


@asynccontextmanager
async def core_database(engine: str, folder: Path, server: Callable[[], PostgresServer]) -> AsyncIterator[Database]:
    """Open, with the core's tables and search. server: asked for where the engine needs one."""
    async with AsyncExitStack() as stack:
        if engine == "sqlite":
            opened: Database = await with_schema(open_sqlite(folder / "chat.db"))
        else:
            opened = await open_postgres(await stack.enter_async_context(postgres_with_schema(server())))
        stack.push_async_callback(opened.close)
        yield opened
