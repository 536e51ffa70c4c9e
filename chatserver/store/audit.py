"""The audit as rows: who did what to what, when. Rows are added and read; the database refuses all else."""

from __future__ import annotations

import msgspec

from chatserver.domain.audit import AuditEntry
from chatserver.domain.extend import Migration
from chatserver.store.database import Tx

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(dict[str, str]).decode
_COLUMNS = "id, noted_at, actor_id, action, subject, details"
_GUARDS = {
    "sqlite": (
        "CREATE TRIGGER audit_kept_on_update BEFORE UPDATE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
        "CREATE TRIGGER audit_kept_on_delete BEFORE DELETE ON audit"
        " BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    ),
    "postgres": (
        "CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RAISE EXCEPTION ''the audit is append-only''; END'",
        "CREATE TRIGGER audit_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep_audit()",
    ),
}


class _Row(msgspec.Struct, frozen=True):
    id: str
    noted_at: int
    actor_id: str
    action: str
    subject: str
    details: str

    def entry(self) -> AuditEntry:
        return AuditEntry(self.id, self.noted_at, self.actor_id, self.action, self.subject, _decode(self.details))


def guards(engine: str) -> list[Migration]:
    """The set `audit` of an engine: what refuses changes, in its own words."""
    return [Migration("0001_guards", _GUARDS[engine])]


def add_entry(tx: Tx, entry: AuditEntry) -> None:
    tx.run(
        f"INSERT INTO audit ({_COLUMNS}) VALUES (:id, :noted_at, :actor_id, :action, :subject, :details)",
        id=entry.id,
        noted_at=entry.noted_at,
        actor_id=entry.actor_id,
        action=entry.action,
        subject=entry.subject,
        details=_encode(entry.details).decode(),
    )


def entries_before(tx: Tx, before: str, action: str, limit: int) -> list[AuditEntry]:
    """Newest first. before: an entry's id, '' for the newest; action: '' for all."""
    rows = tx.all(
        _Row,
        f"SELECT {_COLUMNS} FROM audit WHERE (:before = '' OR id < :before) AND (:action = '' OR action = :action)"
        " ORDER BY id DESC LIMIT :limit",
        before=before,
        action=action,
        limit=limit,
    )
    return [row.entry() for row in rows]


def actions(tx: Tx) -> list[str]:
    """Every action that was ever noted."""
    return tx.all(str, "SELECT DISTINCT action FROM audit ORDER BY action")
