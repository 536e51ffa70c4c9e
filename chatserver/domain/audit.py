"""One line of the audit."""

from __future__ import annotations

import msgspec

COMMAND_LINE = "command line"
"""Who did what was done beside the server, where nobody is signed in."""


class AuditEntry(msgspec.Struct, frozen=True):
    """actor_id: the account that did it, COMMAND_LINE, or '' for the server. subject: what it was done to, by id or
    name."""

    id: str
    noted_at: int
    actor_id: str
    action: str
    subject: str
    details: dict[str, str]
