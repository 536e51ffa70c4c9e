"""The plugin's tables: voices at endpoints, what each person chose, and what was spoken before."""

from __future__ import annotations

from chatserver import Migration

MIGRATIONS = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE voices_endpoints (id TEXT PRIMARY KEY, title TEXT NOT NULL, base_url TEXT NOT NULL,"
            " sealed_key TEXT NOT NULL, model TEXT NOT NULL, voice TEXT NOT NULL, languages TEXT NOT NULL,"
            " groups TEXT NOT NULL, picture TEXT NOT NULL, formats TEXT NOT NULL, made_at BIGINT NOT NULL)",
            "CREATE TABLE voices_choices (account_id TEXT PRIMARY KEY, voice TEXT NOT NULL, speed TEXT NOT NULL)",
            "CREATE TABLE voices_clips (account_id TEXT NOT NULL, place TEXT NOT NULL, sha256 TEXT NOT NULL,"
            " media_type TEXT NOT NULL, size_bytes BIGINT NOT NULL, used_at BIGINT NOT NULL,"
            " PRIMARY KEY (account_id, place))",
            "CREATE INDEX voices_clips_by_use ON voices_clips (used_at)",
        ),
    )
]
