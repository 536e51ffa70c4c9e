"""What the core tidies by itself: events of ended turns, kept answers, old deletions, outbox rows and sessions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from chatserver.chat.credentials import IDLE_US
from chatserver.clock import now_us
from chatserver.domain.extend import JobSpec
from chatserver.store import accounts, idempotency, jobs, outbox, search, shares
from chatserver.store import deletions as deletion_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx
from chatserver.store.deletions import DeletionRow

MINUTE_US = 60_000_000
EVENTS_KEPT_US = 10 * MINUTE_US
ANSWERS_KEPT_US = 24 * 60 * MINUTE_US
DELETIONS_KEPT_US = 30 * 24 * 60 * MINUTE_US
OUTBOX_KEPT_US = 7 * 24 * 60 * MINUTE_US
UNHEARD_KEPT_US = 60 * MINUTE_US
"""Events nobody listens to wait this long for somebody who does: a plugin being switched on again."""
SHARES_KEPT_US = 7 * 24 * 60 * MINUTE_US
"""Links that ended stay in their owner's list this long, so that one sees why they open nothing."""
SESSION_MARGIN_US = 7 * 24 * 60 * MINUTE_US
"""A clock that jumped ahead and came back must not have signed everybody out."""
ERASED_AT_ONCE = 20


class Housekeeping:
    """One periodic job."""

    def __init__(self, db: Database, has_listeners: Callable[[], bool]) -> None:
        self._db = db
        self._has_listeners = has_listeners

    def job(self) -> JobSpec:
        return JobSpec("housekeeping", self.run, every_s=120, lease_s=300)

    async def run(self, payload: dict[str, Any]) -> None:
        now = now_us()

        def tidy(tx: Tx) -> None:
            turn_rows.purge_events(tx, now - EVENTS_KEPT_US)
            idempotency.purge_answers(tx, now - ANSWERS_KEPT_US)
            outbox.purge(tx, before=now - OUTBOX_KEPT_US)
            jobs.purge(tx, now - OUTBOX_KEPT_US)
            shares.purge_expired(tx, now - SHARES_KEPT_US)
            accounts.purge_sessions(tx, now=now, idle_before=now - IDLE_US - SESSION_MARGIN_US)
            if not self._has_listeners():
                outbox.finish_older(tx, before=now - UNHEARD_KEPT_US, now=now)

        await self._db.write(tidy, essential=True)
        over = await self._db.read(
            lambda tx: deletion_rows.expired_deletions(tx, now - DELETIONS_KEPT_US, ERASED_AT_ONCE)
        )
        for row in over:
            await self._db.write(partial(_erase, row=row), essential=True)


def _erase(tx: Tx, row: DeletionRow) -> None:
    if row.message_id is None:  # an import that was never completed was indexed as it came
        search.forget_conversation(tx, row.conversation_id)
    deletion_rows.erase_deletion(tx, row)
