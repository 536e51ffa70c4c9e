"""Figures of the whole house, for who may see the console."""

from __future__ import annotations

from chatserver.chat.channels import PERMISSION
from chatserver.chat.permissions import Permissions
from chatserver.clock import now_us, write_id
from chatserver.domain.access import Actor
from chatserver.domain.overview import Overview, overview_of
from chatserver.store import past_calls
from chatserver.store.database import Database

HOUR_US = 3_600_000_000
CALLS_LIMIT = 20_000
"""How many calls one look reads at most: the newest."""
LATE_US = 10 * 60 * 1_000_000
"""An id may be a little older than its call's start."""


class Overviews:
    def __init__(self, db: Database, permissions: Permissions) -> None:
        self._db = db
        self._permissions = permissions

    async def read(self, actor: Actor, *, span_hours: int, count: int) -> Overview:
        """The last so many spans of hours, the newest one still going on. Raises Refused."""
        await self._permissions.require(actor, PERMISSION)
        span_us = span_hours * HOUR_US
        now = now_us()
        first_at = now - now % span_us - (count - 1) * span_us
        since_id = write_id((first_at - LATE_US) // 1000 << 80)
        calls = await self._db.read(
            lambda tx: past_calls.past_calls(tx, since=first_at, since_id=since_id, most=CALLS_LIMIT)
        )
        is_cut = len(calls) == CALLS_LIMIT
        return overview_of(calls, first_at=first_at, span_us=span_us, count=count, is_cut=is_cut)
