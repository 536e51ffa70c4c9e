"""Keeps everything in PostgreSQL, so that many processes and machines serve one house."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatserver import Bus, BusKind, Context, Database, Engine, Setting, hookimpl
from chatserver_postgres.figures import add_gauges

SCHEMES = ("postgresql", "postgres")
CONNECTIONS = 12


@hookimpl
def register_settings() -> list[Setting]:
    return [
        Setting(
            "connections",
            "The most connections a process opens for reading and writing; three more carry wake-ups and watch.",
            kind="number",
            default=str(CONNECTIONS),
        )
    ]


@hookimpl
async def startup(ctx: Context) -> None:
    add_gauges(ctx.metrics)


@hookimpl
def register_engines() -> list[Engine]:
    return [Engine("postgres", SCHEMES, open_database)]


@hookimpl
def register_buses() -> list[BusKind]:
    return [BusKind("postgres", SCHEMES, open_bus)]


async def open_database(url: str, settings: Mapping[str, Any]) -> Database:
    from chatserver_postgres.database import PostgresDatabase

    return await PostgresDatabase.open(url, connections=int(settings.get("connections", CONNECTIONS)))


async def open_bus(url: str, settings: Mapping[str, Any]) -> Bus:
    from chatserver_postgres.bus import NotifyBus

    return NotifyBus(url)
