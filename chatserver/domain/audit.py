"""One line of the audit."""

from __future__ import annotations

import msgspec


class AuditEntry(msgspec.Struct, frozen=True):
    """actor_id: the account that did it, '' for the server. subject: what it was done to, by id or name."""

    id: str
    noted_at: int
    actor_id: str
    action: str
    subject: str
    details: dict[str, str]
