"""The core's own tables. Ids TEXT, times BIGINT microseconds UTC, booleans INTEGER, JSON as TEXT."""

from __future__ import annotations

from chatserver.domain.extend import Migration

CORE = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE accounts (id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL,"
            " role TEXT NOT NULL, state TEXT NOT NULL, groups TEXT NOT NULL, settings TEXT NOT NULL,"
            " created_at BIGINT NOT NULL)",
            "CREATE TABLE sessions (id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES accounts(id),"
            " created_at BIGINT NOT NULL, seen_at BIGINT NOT NULL, expires_at BIGINT NOT NULL,"
            " user_agent TEXT NOT NULL)",
            "CREATE INDEX sessions_by_account ON sessions (account_id)",
            "CREATE TABLE api_keys (id TEXT PRIMARY KEY, account_id TEXT NOT NULL REFERENCES accounts(id),"
            " name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, last_four TEXT NOT NULL, scopes TEXT NOT NULL,"
            " created_at BIGINT NOT NULL, expires_at BIGINT, revoked_at BIGINT, used_at BIGINT)",
            "CREATE INDEX api_keys_by_account ON api_keys (account_id)",
            "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
            "CREATE TABLE conversations (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL REFERENCES accounts(id),"
            " title TEXT NOT NULL, title_source TEXT NOT NULL, tip_id TEXT, model TEXT NOT NULL,"
            " pinned INTEGER NOT NULL, archived INTEGER NOT NULL, branches INTEGER NOT NULL,"
            " created_at BIGINT NOT NULL, updated_at BIGINT NOT NULL, deletion_id TEXT)",
            "CREATE INDEX conversations_by_owner ON conversations (owner_id, archived, updated_at)",
            "CREATE TABLE messages (id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL REFERENCES conversations(id),"
            " parent_id TEXT REFERENCES messages(id), role TEXT NOT NULL, state TEXT NOT NULL, parts TEXT NOT NULL,"
            " model TEXT NOT NULL, continues INTEGER NOT NULL, created_at BIGINT NOT NULL, deletion_id TEXT)",
            "CREATE INDEX messages_by_conversation ON messages (conversation_id, id)",
            "CREATE INDEX messages_by_parent ON messages (parent_id)",
            "CREATE INDEX messages_roots ON messages (conversation_id) WHERE parent_id IS NULL",
            "CREATE TABLE context_markers (message_id TEXT PRIMARY KEY REFERENCES messages(id),"
            " conversation_id TEXT NOT NULL REFERENCES conversations(id), created_at BIGINT NOT NULL)",
            "CREATE INDEX context_markers_by_conversation ON context_markers (conversation_id)",
            "CREATE TABLE views (conversation_id TEXT NOT NULL REFERENCES conversations(id), tip_id TEXT NOT NULL,"
            " seen_at BIGINT NOT NULL, PRIMARY KEY (conversation_id, tip_id))",
            "CREATE TABLE deletions (id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL REFERENCES conversations(id),"
            " message_id TEXT, parent_id TEXT, count INTEGER NOT NULL, created_at BIGINT NOT NULL)",
            "CREATE INDEX deletions_by_conversation ON deletions (conversation_id)",
            "CREATE TABLE turns (id TEXT PRIMARY KEY, conversation_id TEXT NOT NULL REFERENCES conversations(id),"
            " account_id TEXT NOT NULL, question_id TEXT, reply_id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,"
            " model TEXT NOT NULL, origin TEXT NOT NULL, created_at BIGINT NOT NULL, lease_owner TEXT NOT NULL,"
            " lease_epoch INTEGER NOT NULL, lease_until BIGINT NOT NULL, last_seq INTEGER NOT NULL, ended_at BIGINT,"
            " first_token_at BIGINT, error TEXT, usage TEXT NOT NULL, attempts TEXT NOT NULL,"
            " left_out INTEGER NOT NULL, labels TEXT NOT NULL, parameters TEXT NOT NULL,"
            " stop_requested INTEGER NOT NULL)",
            "CREATE INDEX turns_by_state ON turns (state, lease_until)",
            "CREATE INDEX turns_by_account ON turns (account_id, state)",
            "CREATE INDEX turns_by_conversation ON turns (conversation_id, state)",
            "CREATE TABLE turn_events (turn_id TEXT NOT NULL REFERENCES turns(id), first_seq INTEGER NOT NULL,"
            " last_seq INTEGER NOT NULL, deltas TEXT NOT NULL, created_at BIGINT NOT NULL,"
            " PRIMARY KEY (turn_id, first_seq))",
            "CREATE INDEX turn_events_by_age ON turn_events (created_at)",
            "CREATE TABLE calls (id TEXT PRIMARY KEY, turn_id TEXT, account_id TEXT NOT NULL, kind TEXT NOT NULL,"
            " origin TEXT NOT NULL, model TEXT NOT NULL, channel TEXT NOT NULL, state TEXT NOT NULL,"
            " started_at BIGINT NOT NULL, first_token_at BIGINT, ended_at BIGINT, usage TEXT NOT NULL,"
            " attempts TEXT NOT NULL, labels TEXT NOT NULL)",
            "CREATE INDEX calls_by_turn ON calls (turn_id)",
            "CREATE INDEX calls_by_account ON calls (account_id, started_at)",
            "CREATE TABLE idempotency_keys (account_id TEXT NOT NULL, key TEXT NOT NULL, request_hash TEXT NOT NULL,"
            " status INTEGER NOT NULL, response TEXT NOT NULL, created_at BIGINT NOT NULL,"
            " PRIMARY KEY (account_id, key))",
            "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
            "CREATE TABLE outbox (seq {identity}, name TEXT NOT NULL, payload TEXT NOT NULL,"
            " created_at BIGINT NOT NULL, available_at BIGINT NOT NULL, attempts INTEGER NOT NULL, done_at BIGINT)",
            "CREATE INDEX outbox_pending ON outbox (done_at, available_at)",
            "CREATE TABLE outbox_deliveries (seq INTEGER NOT NULL, plugin TEXT NOT NULL, done_at BIGINT NOT NULL,"
            " PRIMARY KEY (seq, plugin))",
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, kind TEXT NOT NULL, payload TEXT NOT NULL, state TEXT NOT NULL,"
            " run_at BIGINT NOT NULL, lease_owner TEXT NOT NULL, lease_until BIGINT NOT NULL,"
            " attempts INTEGER NOT NULL, error TEXT NOT NULL, created_at BIGINT NOT NULL)",
            "CREATE INDEX jobs_due ON jobs (state, run_at)",
            "CREATE TABLE model_factors (model TEXT PRIMARY KEY, factor_ppm INTEGER NOT NULL,"
            " samples INTEGER NOT NULL)",
        ),
    ),
    Migration(
        "0002_order",
        (
            "CREATE TABLE folders (id TEXT PRIMARY KEY, owner_id TEXT NOT NULL REFERENCES accounts(id),"
            " parent_id TEXT REFERENCES folders(id), name TEXT NOT NULL, created_at BIGINT NOT NULL)",
            "CREATE INDEX folders_by_owner ON folders (owner_id)",
            "ALTER TABLE conversations ADD COLUMN folder_id TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE conversations ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
            "CREATE INDEX conversations_by_folder ON conversations (owner_id, folder_id, updated_at)",
            "CREATE TABLE conversation_tags (conversation_id TEXT NOT NULL REFERENCES conversations(id),"
            " tag TEXT NOT NULL, owner_id TEXT NOT NULL, PRIMARY KEY (conversation_id, tag))",
            "CREATE INDEX conversation_tags_by_owner ON conversation_tags (owner_id, tag)",
        ),
    ),
    Migration(
        "0003_messages",
        (
            "ALTER TABLE conversations ADD COLUMN system_prompt TEXT NOT NULL DEFAULT ''",
            "ALTER TABLE conversations ADD COLUMN parameters TEXT NOT NULL DEFAULT '{}'",
            "CREATE TABLE feedback (message_id TEXT PRIMARY KEY REFERENCES messages(id),"
            " conversation_id TEXT NOT NULL REFERENCES conversations(id), value TEXT NOT NULL, tags TEXT NOT NULL,"
            " reason TEXT NOT NULL, changed_at BIGINT NOT NULL)",
            "CREATE INDEX feedback_by_conversation ON feedback (conversation_id)",
            "CREATE TABLE turn_prompts (turn_id TEXT PRIMARY KEY REFERENCES turns(id),"
            " conversation_id TEXT NOT NULL REFERENCES conversations(id), record TEXT NOT NULL)",
            "CREATE INDEX turn_prompts_by_conversation ON turn_prompts (conversation_id)",
            "CREATE TABLE prompt_texts (conversation_id TEXT NOT NULL REFERENCES conversations(id),"
            " hash TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (conversation_id, hash))",
        ),
    ),
    Migration(
        "0004_tree",
        (
            "CREATE TABLE branch_names (message_id TEXT PRIMARY KEY REFERENCES messages(id),"
            " conversation_id TEXT NOT NULL REFERENCES conversations(id), name TEXT NOT NULL,"
            " created_at BIGINT NOT NULL)",
            "CREATE INDEX branch_names_by_conversation ON branch_names (conversation_id)",
            "ALTER TABLE conversations ADD COLUMN forked_from TEXT NOT NULL DEFAULT ''",
        ),
    ),
    Migration(
        "0005_files",
        (
            # unused_since: nothing names it since then, NULL while something does. is_going: it is being taken away.
            "CREATE TABLE blobs (sha256 TEXT PRIMARY KEY, size_bytes BIGINT NOT NULL, created_at BIGINT NOT NULL,"
            " unused_since BIGINT, is_going INTEGER NOT NULL)",
            "CREATE INDEX blobs_unused ON blobs (unused_since) WHERE unused_since IS NOT NULL",
            "CREATE TABLE files (id TEXT PRIMARY KEY,"
            " owner_id TEXT NOT NULL REFERENCES accounts(id) ON DELETE CASCADE, name TEXT NOT NULL,"
            " media_type TEXT NOT NULL, size_bytes BIGINT NOT NULL, stored_bytes BIGINT NOT NULL,"
            " sha256 TEXT NOT NULL REFERENCES blobs(sha256), width INTEGER NOT NULL, height INTEGER NOT NULL,"
            " charset TEXT NOT NULL, tokens INTEGER NOT NULL, is_used INTEGER NOT NULL, created_at BIGINT NOT NULL)",
            "CREATE INDEX files_by_owner ON files (owner_id, id)",
            "CREATE INDEX files_by_blob ON files (sha256)",
            "CREATE TABLE file_renditions (file_id TEXT NOT NULL REFERENCES files(id) ON DELETE CASCADE,"
            " kind TEXT NOT NULL, sha256 TEXT NOT NULL REFERENCES blobs(sha256), media_type TEXT NOT NULL,"
            " size_bytes BIGINT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL,"
            " PRIMARY KEY (file_id, kind))",
            "CREATE INDEX file_renditions_by_blob ON file_renditions (sha256)",
            # A file that a message names cannot be deleted, not even by mistake.
            "CREATE TABLE message_files (message_id TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE,"
            " file_id TEXT NOT NULL REFERENCES files(id), PRIMARY KEY (message_id, file_id))",
            "CREATE INDEX message_files_by_file ON message_files (file_id)",
            "CREATE TABLE file_holds (file_id TEXT NOT NULL REFERENCES files(id) ON DELETE CASCADE,"
            " holder TEXT NOT NULL, PRIMARY KEY (file_id, holder))",
            "CREATE TABLE blob_holds (holder TEXT NOT NULL, sha256 TEXT NOT NULL REFERENCES blobs(sha256),"
            " created_at BIGINT NOT NULL, PRIMARY KEY (holder, sha256))",
            "CREATE INDEX blob_holds_by_blob ON blob_holds (sha256)",
        ),
    ),
    Migration(
        "0006_sharing",
        (
            "CREATE TABLE shares (id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, last_four TEXT NOT NULL,"
            " owner_id TEXT NOT NULL REFERENCES accounts(id),"
            " conversation_id TEXT NOT NULL REFERENCES conversations(id), tip_id TEXT NOT NULL, scope TEXT NOT NULL,"
            " title TEXT NOT NULL, thoughts INTEGER NOT NULL, messages INTEGER NOT NULL, created_at BIGINT NOT NULL,"
            " expires_at BIGINT)",
            "CREATE INDEX shares_by_owner ON shares (owner_id, id)",
            "CREATE INDEX shares_by_conversation ON shares (conversation_id)",
            "CREATE INDEX shares_ending ON shares (expires_at) WHERE expires_at IS NOT NULL",
            "CREATE TABLE share_messages (share_id TEXT NOT NULL REFERENCES shares(id),"
            " message_id TEXT NOT NULL REFERENCES messages(id), PRIMARY KEY (share_id, message_id))",
            "CREATE INDEX share_messages_by_message ON share_messages (message_id)",
            "ALTER TABLE conversations ADD COLUMN temporary INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE conversations ADD COLUMN ends_at BIGINT NOT NULL DEFAULT 0",
            "ALTER TABLE accounts ADD COLUMN leaving_since BIGINT NOT NULL DEFAULT 0",
            "CREATE INDEX accounts_leaving ON accounts (leaving_since) WHERE leaving_since > 0",
            "CREATE INDEX conversations_temporary ON conversations (ends_at) WHERE temporary = 1",
        ),
    ),
    Migration(
        "0007_channels",
        (
            "CREATE TABLE channels (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, provider TEXT NOT NULL,"
            " base_url TEXT NOT NULL, sealed_key TEXT NOT NULL, models TEXT NOT NULL, priority INTEGER NOT NULL,"
            " weight INTEGER NOT NULL, groups TEXT NOT NULL, is_on INTEGER NOT NULL, note TEXT NOT NULL,"
            " created_at BIGINT NOT NULL, changed_at BIGINT NOT NULL)",
        ),
    ),
    Migration(
        "0010_served",
        (
            "ALTER TABLE api_keys ADD COLUMN models TEXT NOT NULL DEFAULT '[]'",
            "ALTER TABLE api_keys ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 0",
            # Who makes a call that belongs to no turn, and which of them still live: what a dead one left is ended.
            "ALTER TABLE calls ADD COLUMN node TEXT NOT NULL DEFAULT ''",
            "CREATE INDEX calls_running ON calls (started_at) WHERE state = 'running' AND turn_id IS NULL",
            "CREATE TABLE nodes (id TEXT PRIMARY KEY, seen_at BIGINT NOT NULL)",
        ),
    ),
    Migration(
        "0011_notices",
        (
            "CREATE TABLE notices (source TEXT NOT NULL, key TEXT NOT NULL, level TEXT NOT NULL,"
            " sentence TEXT NOT NULL, details TEXT NOT NULL, told_at BIGINT NOT NULL, read_at BIGINT,"
            " PRIMARY KEY (source, key))",
        ),
    ),
    Migration(
        "0012_tool_consents",
        (
            "CREATE TABLE tool_consents (turn_id TEXT NOT NULL REFERENCES turns(id), call_id TEXT NOT NULL,"
            " conversation_id TEXT NOT NULL REFERENCES conversations(id), tool TEXT NOT NULL, answer TEXT NOT NULL,"
            " asked_at BIGINT NOT NULL, answered_at BIGINT, PRIMARY KEY (turn_id, call_id))",
            "CREATE INDEX tool_consents_by_conversation ON tool_consents (conversation_id)",
        ),
    ),
    Migration(
        "0013_console",
        (
            "ALTER TABLE channels ADD COLUMN requests_per_minute INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channels ADD COLUMN tokens_per_minute INTEGER NOT NULL DEFAULT 0",
            "ALTER TABLE channels ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 0",
            "CREATE TABLE model_rules (model TEXT PRIMARY KEY, is_on INTEGER NOT NULL, groups TEXT NOT NULL,"
            " changed_at BIGINT NOT NULL)",
        ),
    ),
    Migration(
        "0014_audit",
        (
            "CREATE TABLE audit (id TEXT PRIMARY KEY, noted_at BIGINT NOT NULL, actor_id TEXT NOT NULL,"
            " action TEXT NOT NULL, subject TEXT NOT NULL, details TEXT NOT NULL)",
            "CREATE INDEX audit_by_action ON audit (action, id)",
        ),
    ),
    Migration(
        "0015_sources",
        (
            # goes with its message, also where a version erases that knows nothing of it
            "CREATE TABLE message_sources (message_id TEXT PRIMARY KEY REFERENCES messages(id) ON DELETE CASCADE,"
            " conversation_id TEXT NOT NULL, sources TEXT NOT NULL)",
            "CREATE INDEX message_sources_by_conversation ON message_sources (conversation_id)",
        ),
    ),
    Migration(
        "0016_house_settings",
        (
            "CREATE TABLE house_settings (name TEXT PRIMARY KEY, value TEXT NOT NULL, changed_at BIGINT NOT NULL)",
            "CREATE TABLE plugin_switches (name TEXT PRIMARY KEY, is_on INTEGER NOT NULL, changed_at BIGINT NOT NULL)",
        ),
    ),
    Migration(
        "0017_proofs",
        (
            # When whoever holds the session last proved who they are; 0 for sessions of the version before.
            "ALTER TABLE sessions ADD COLUMN proved_at BIGINT NOT NULL DEFAULT 0",
        ),
    ),
]
