"""What the pool tells at /metrics: connections, those at work, and who waits for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

if TYPE_CHECKING:
    from chatserver_postgres.crew import Crew
    from chatserver_postgres.database import PostgresDatabase

databases: WeakSet[PostgresDatabase] = WeakSet()
"""Those this process has opened; a server has one, a house on SQLite none."""


def add_gauges(metrics: Any) -> None:
    """metrics: `ctx.metrics`."""

    def gauge(name: str, help: str, measure: Callable[[Crew], float]) -> None:
        metrics.gauge(
            name,
            help,
            lambda: [
                ({"crew": label}, measure(crew)) for database in list(databases) for label, crew in database.crews()
            ],
        )

    gauge("connections", "Connections that were opened, by what they are for", lambda crew: crew.size)
    gauge("connections_max", "How many there may be", lambda crew: crew.limit)
    gauge("busy", "Connections at work", lambda crew: crew.busy)
    gauge("queue", "Units that wait for a connection", lambda crew: crew.queued)
    gauge("longest_wait_seconds", "The longest any unit waits, or runs", lambda crew: crew.longest_wait_s())
