"""Delete one's own account: shut in one transaction, erased by a job, conversation by conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog

from chatserver.chat.accounts import Accounts
from chatserver.chat.conversations import Conversations
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.extend import JobSpec
from chatserver.errors import Conflict
from chatserver.store import conversations as conversation_rows
from chatserver.store import deletions as deletion_rows
from chatserver.store import jobs, search
from chatserver.store import leaving as leaving_rows
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx
from chatserver.store.leaving import Holdings

log = structlog.get_logger("chatserver.audit")

JOB = "leavers"
AT_ONCE = 50


class Leaving:
    """Who leaves is out at once; the job takes what they wrote, and may be killed anywhere."""

    def __init__(
        self, db: Database, accounts: Accounts, conversations: Conversations, wake: Callable[[bool], None]
    ) -> None:
        """wake: told that an account is to be erased (False), or was (True)."""
        self._db = db
        self._accounts = accounts
        self._conversations = conversations
        self._wake = wake

    async def holdings(self, actor: Actor) -> Holdings:
        return await self._db.read(lambda tx: leaving_rows.holdings_of(tx, actor))

    async def leave(self, actor: Actor) -> None:
        """Nobody gets into the account any more, its links open nothing, its answers stop. Raises Conflict
        `last_admin`."""

        def shut(tx: Tx) -> list[str]:
            tx.lock("admins")
            if actor.account.role == "admin" and not leaving_rows.has_other_admin(tx, actor):
                raise Conflict(
                    "You are the only admin of this server. Make somebody else an admin first.", code="last_admin"
                )
            now = now_us()
            leaving_rows.shut(tx, actor, now)
            jobs.enqueue(tx, JOB, {}, now)
            return turn_rows.running_ids_of(tx, actor.account_id)

        running = await self._db.write(shut, essential=True)
        self._accounts.forget_credentials()
        log.info("account_left", account=actor.account_id)
        for turn_id in running:
            await self._conversations.stop(actor, turn_id)
        self._wake(False)

    def job(self) -> JobSpec:
        return JobSpec(JOB, self.erase_leavers, every_s=120, lease_s=300)

    async def erase_leavers(self, payload: dict[str, Any]) -> None:
        """Whoever has an answer still being written waits for the next time."""
        after = ""
        while leavers := await self._db.read(partial(leaving_rows.leaving_accounts, after=after, limit=AT_ONCE)):
            for account_id in leavers:
                await self._erase(account_id)
            after = leavers[-1]

    async def _erase(self, account_id: str) -> None:
        while left := await self._db.read(lambda tx: leaving_rows.conversations_left(tx, account_id, AT_ONCE)):
            for conversation_id in left:
                await self._db.write(partial(_erase_conversation, conversation_id=conversation_id), essential=True)
        await self._accounts.forget_secrets(account_id)
        if await self._db.write(lambda tx: leaving_rows.erase_account(tx, account_id), essential=True):
            log.info("account_erased", account=account_id)
            self._wake(True)


def _erase_conversation(tx: Tx, conversation_id: str) -> None:
    conversation_rows.lock_conversation(tx, conversation_id)
    if turn_rows.running_in(tx, conversation_id):
        return  # a turn began before the account was shut; it is asked again later
    search.forget_conversation(tx, conversation_id)
    deletion_rows.erase_conversation(tx, conversation_id)
