"""The pool at /metrics: while a house is served from it, and not otherwise."""

from __future__ import annotations

from pathlib import Path

from chatserver.testing.postgres import PostgresServer
from chatserver.testing.server import open_site


async def test_the_pool_tells_of_its_connections(tmp_path: Path, postgres_server: PostgresServer) -> None:
    name = postgres_server.create()
    try:
        async with open_site(tmp_path, database_url=postgres_server.url(name)) as site:
            said = (await site.browser().get("/metrics")).text
        lines = dict(line.rsplit(" ", 1) for line in said.splitlines() if not line.startswith("#"))
        for crew in ("read", "write"):
            opened = int(lines[f'chatserver_postgres_connections{{crew="{crew}"}}'])
            assert 1 <= opened <= int(lines[f'chatserver_postgres_connections_max{{crew="{crew}"}}'])
            assert 0 <= int(lines[f'chatserver_postgres_busy{{crew="{crew}"}}']) <= opened
            assert f'chatserver_postgres_queue{{crew="{crew}"}}' in lines
            assert float(lines[f'chatserver_postgres_longest_wait_seconds{{crew="{crew}"}}']) >= 0
    finally:
        postgres_server.drop(name)
    async with open_site(tmp_path) as site:
        assert "chatserver_postgres_connections{" not in (await site.browser().get("/metrics")).text
