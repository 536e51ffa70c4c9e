"""Versions made by hand: kept beside the message they were made from, shown on its branch only."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from chatserver import Context, Migration

MIGRATIONS = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE artifacts_edits (id TEXT PRIMARY KEY, account_id TEXT NOT NULL,"
            " conversation_id TEXT NOT NULL, message_id TEXT NOT NULL, artifact_id TEXT NOT NULL, text TEXT NOT NULL,"
            " made_at BIGINT NOT NULL)",
            "CREATE INDEX artifacts_edits_by_conversation ON artifacts_edits (conversation_id, made_at)",
            "CREATE INDEX artifacts_edits_by_account ON artifacts_edits (account_id)",
        ),
    )
]


SWEPT_AT_ONCE = 500


class Edit(msgspec.Struct, frozen=True):
    """A version somebody wrote. message_id: that of the version it began from."""

    id: str
    message_id: str
    artifact_id: str
    text: str


class _Place(msgspec.Struct, frozen=True):
    id: str
    message_id: str


class Edits:
    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def of_conversation(self, account_id: str, conversation_id: str) -> list[Edit]:
        return await self._ctx.db.read(
            lambda tx: tx.all(
                Edit,
                "SELECT id, message_id, artifact_id, text FROM artifacts_edits WHERE account_id = :account"
                " AND conversation_id = :conversation ORDER BY made_at, id",
                account=account_id,
                conversation=conversation_id,
            )
        )

    async def add(self, account_id: str, conversation_id: str, message_id: str, artifact_id: str, text: str) -> None:
        """The caller has found message and conversation to be the account's."""
        row: dict[str, Any] = {
            "id": self._ctx.clock.new_id(),
            "account": account_id,
            "conversation": conversation_id,
            "message": message_id,
            "artifact": artifact_id,
            "text": text,
            "now": self._ctx.clock.now_us(),
        }
        await self._ctx.db.write(
            lambda tx: tx.run(
                "INSERT INTO artifacts_edits (id, account_id, conversation_id, message_id, artifact_id, text, made_at)"
                " VALUES (:id, :account, :conversation, :message, :artifact, :text, :now)",
                **row,
            )
        )

    async def forget_erased(self, payload: dict[str, Any]) -> None:
        """Versions of messages that are gone for good, an account's that left while this plugin was away included."""
        after = ""
        while page := await self._ctx.db.read(partial(_places_after, after=after)):
            after = page[-1].id
            gone = await self._ctx.conversations.erased([one.message_id for one in page])
            if lost := [one.id for one in page if one.message_id in gone]:
                await self._ctx.db.write(partial(_delete, ids=lost))

    async def forget(self, account_id: str) -> None:
        await self._ctx.db.write(
            lambda tx: tx.run("DELETE FROM artifacts_edits WHERE account_id = :account", account=account_id)
        )


def _places_after(tx: Any, after: str) -> list[_Place]:
    return list(
        tx.all(
            _Place,
            "SELECT id, message_id FROM artifacts_edits WHERE id > :after ORDER BY id LIMIT :most",
            after=after,
            most=SWEPT_AT_ONCE,
        )
    )


def _delete(tx: Any, ids: list[str]) -> None:
    for one in ids:
        tx.run("DELETE FROM artifacts_edits WHERE id = :id", id=one)
