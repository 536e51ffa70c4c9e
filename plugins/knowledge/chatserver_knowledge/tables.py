"""The plugin's tables: collections, the files in them, their passages, and their vectors by model."""

from __future__ import annotations

from chatserver import Migration

MIGRATIONS = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE knowledge_collections (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL, name TEXT NOT NULL,"
            " groups TEXT NOT NULL, version BIGINT NOT NULL, made_at BIGINT NOT NULL)",
            "CREATE INDEX knowledge_collections_by_owner ON knowledge_collections (owner_id)",
            "CREATE TABLE knowledge_files (id TEXT PRIMARY KEY, collection_id TEXT NOT NULL, file_id TEXT NOT NULL,"
            " owner_id TEXT NOT NULL, sha256 TEXT NOT NULL, name TEXT NOT NULL, state TEXT NOT NULL,"
            " error TEXT NOT NULL, chunks INTEGER NOT NULL, added_at BIGINT NOT NULL,"
            " UNIQUE (collection_id, file_id))",
            "CREATE TABLE knowledge_chunks (file TEXT NOT NULL, place INTEGER NOT NULL, page INTEGER NOT NULL,"
            " heading TEXT NOT NULL, text TEXT NOT NULL, model TEXT NOT NULL, vector {bytes} NOT NULL,"
            " PRIMARY KEY (file, place))",
            "CREATE TABLE knowledge_sources (turn_id TEXT NOT NULL, number INTEGER NOT NULL, reply_id TEXT NOT NULL,"
            " owner_id TEXT NOT NULL, file TEXT NOT NULL, place INTEGER NOT NULL, name TEXT NOT NULL,"
            " page INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (turn_id, number))",
            "CREATE INDEX knowledge_sources_by_reply ON knowledge_sources (reply_id)",
        ),
    ),
    Migration(
        "0002_vectors",
        (
            "ALTER TABLE knowledge_files ADD COLUMN step TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE knowledge_files ADD COLUMN done INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE knowledge_files ADD COLUMN total INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE knowledge_files ADD COLUMN stamp BIGINT NOT NULL DEFAULT 0",
            "CREATE TABLE knowledge_vectors (file TEXT NOT NULL, model TEXT NOT NULL, place INTEGER NOT NULL,"
            " vector {bytes} NOT NULL, PRIMARY KEY (file, model, place))",
            "INSERT INTO knowledge_vectors (file, model, place, vector)"
            " SELECT file, model, place, vector FROM knowledge_chunks",
            "CREATE TABLE knowledge_serving (one INTEGER PRIMARY KEY, model TEXT NOT NULL, coming TEXT NOT NULL)",
        ),
    ),
    Migration(
        "0003_leftovers",
        (
            # Before the first release nobody's version before looks for these.
            "DROP TABLE knowledge_sources",
            "ALTER TABLE knowledge_chunks DROP COLUMN model",
            "ALTER TABLE knowledge_chunks DROP COLUMN vector",
            # Names with blanks in them are one group each: a list as JSON from now on.
            "UPDATE knowledge_collections SET groups = '[ || REPLACE(groups, , ,) || ]' WHERE groups <> ''",
        ),
    ),
    Migration(
        "0004_near",
        (
            "CREATE TABLE knowledge_near (file TEXT NOT NULL, model TEXT NOT NULL, place BIGINT NOT NULL,"
            " width BIGINT NOT NULL, vector vector NOT NULL, PRIMARY KEY (file, model, place),"
            " FOREIGN KEY (file, model, place) REFERENCES knowledge_vectors (file, model, place) ON DELETE CASCADE)",
        ),
        engine="postgres",
        extension="vector",
    ),
]
