"""What was done here that somebody may ask about later: one row that stays, and one line of the log."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from chatserver.chat.permissions import Permissions
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account, Actor
from chatserver.domain.audit import AuditEntry
from chatserver.errors import StorageFull
from chatserver.plugins.fence import FencedTx
from chatserver.store import audit as rows
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.audit")
PERMISSION = "admin.console"
R = TypeVar("R")
By = Actor | Account | str
"""Who does something; a text is COMMAND_LINE, or '' for the server."""


def entry_by(by: By, action: str, subject: str = "", **details: str) -> AuditEntry:
    """Made before the act, so that it can be kept with it."""
    who = by if isinstance(by, str) else by.id if isinstance(by, Account) else by.account_id
    return AuditEntry(new_id(), now_us(), who, action, subject, details)


async def write_noted(
    db: Database,
    change: Callable[[Tx], R],
    entry: AuditEntry | Callable[[R], AuditEntry] | None,
    *,
    essential: bool = False,
) -> R:
    """Make a change and note it, both or neither. One that answers False, 0 or None changed nothing, and nothing is
    noted. entry: also what makes it of the answer; None where nobody is told."""
    noted: list[AuditEntry] = []

    def both(tx: Tx) -> R:
        noted.clear()  # the engine may run this again
        done = change(tx)
        if entry is not None and done:
            noted.append(entry if isinstance(entry, AuditEntry) else entry(done))
            rows.add_entry(tx, noted[0])
        return done

    done = await db.write(both, essential=essential)
    for one in noted:
        tell(one)
    return done


def tell(entry: AuditEntry) -> None:
    """The line of the log."""
    subject = {"subject": entry.subject} if entry.subject else {}
    log.info(entry.action, account=entry.actor_id, **subject, **entry.details)


class Audit:
    """Notes hold ids and names, never a secret and never what was said."""

    def __init__(self, db: Database, permissions: Permissions) -> None:
        self._db = db
        self._permissions = permissions

    async def note(self, by: By, action: str, subject: str = "", **details: str) -> None:
        """Kept for good: of what changes no row of ours. On a full disk the line of the log alone is left."""
        entry = entry_by(by, action, subject, **details)
        tell(entry)
        with contextlib.suppress(StorageFull):  # who signs in to make room is not kept out
            await self._db.write(lambda tx: rows.add_entry(tx, entry), essential=True)

    async def entries(self, actor: Actor, *, before: str = "", action: str = "", limit: int = 50) -> list[AuditEntry]:
        """Newest first; before: the id of the last one seen. Raises Refused."""
        await self._permissions.require(actor, PERMISSION)
        return await self._db.read(lambda tx: rows.entries_before(tx, before, action, limit))

    async def actions(self, actor: Actor) -> list[str]:
        await self._permissions.require(actor, PERMISSION)
        return await self._db.read(rows.actions)

    def of_plugin(self, name: str) -> PluginAudit:
        """`ctx.audit`."""
        return PluginAudit(self._db, name)


class PluginAudit:
    """A plugin's own lines: its actions are told as `<plugin>.<action>`."""

    def __init__(self, db: Database, name: str) -> None:
        self._db = db
        self._name = name

    async def write(
        self, change: Callable[[Any], R], actor: Actor, action: str, subject: str = "", **details: str
    ) -> R:
        """Change the plugin's own tables as `ctx.db.write` does, and note it, both or neither. A change that answers
        False, 0 or None changed nothing, and nothing is noted."""
        entry = entry_by(actor, f"{self._name}.{action}", subject, **details)
        return await write_noted(self._db, lambda tx: change(FencedTx(tx, f"{self._name}_")), entry)

    async def note(self, actor: Actor, action: str, subject: str = "", **details: str) -> None:
        """Of what changes no row. Never a secret, and never what somebody wrote."""
        entry = entry_by(actor, f"{self._name}.{action}", subject, **details)
        await write_noted(self._db, lambda tx: True, entry)
