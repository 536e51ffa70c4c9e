"""The plugin's table: the servers an admin added in the console."""

from __future__ import annotations

from chatserver import Migration

MIGRATIONS = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE mcp_servers (name TEXT PRIMARY KEY, url TEXT NOT NULL, sealed_token TEXT NOT NULL,"
            " made_at BIGINT NOT NULL)",
        ),
    )
]
