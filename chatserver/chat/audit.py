"""What was done here that somebody may ask about later: one row that stays, and one line of the log."""

from __future__ import annotations

import contextlib

import structlog

from chatserver.chat.permissions import Permissions
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account, Actor
from chatserver.domain.audit import AuditEntry
from chatserver.errors import StorageFull
from chatserver.store import audit as rows
from chatserver.store.database import Database

log = structlog.get_logger("chatserver.audit")
PERMISSION = "admin.console"


class Audit:
    """Notes hold ids and names, never a secret and never what was said."""

    def __init__(self, db: Database, permissions: Permissions) -> None:
        self._db = db
        self._permissions = permissions

    async def note(self, actor: Actor | Account, action: str, subject: str = "", **details: str) -> None:
        """Kept for good. On a full disk the line of the log alone is left."""
        who = actor.id if isinstance(actor, Account) else actor.account_id
        entry = AuditEntry(new_id(), now_us(), who, action, subject, details)
        log.info(action, account=who, **({"subject": subject} if subject else {}), **details)
        with contextlib.suppress(StorageFull):  # who signs in to make room is not kept out
            await self._db.write(lambda tx: rows.add_entry(tx, entry), essential=True)

    async def entries(self, actor: Actor, *, before: str = "", action: str = "", limit: int = 50) -> list[AuditEntry]:
        """Newest first; before: the id of the last one seen. Raises Refused."""
        await self._permissions.require(actor, PERMISSION)
        return await self._db.read(lambda tx: rows.entries_before(tx, before, action, limit))

    async def actions(self, actor: Actor) -> list[str]:
        await self._permissions.require(actor, PERMISSION)
        return await self._db.read(rows.actions)
