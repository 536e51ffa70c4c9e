"""Answers kept by the caller's own key, so that a request sent again is answered again and done once."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Actor
from chatserver.store.database import Tx


class KeptAnswer(msgspec.Struct, frozen=True):
    request_hash: str
    status: int
    response: str


def kept_answer(tx: Tx, actor: Actor, key: str) -> KeptAnswer | None:
    return tx.one(
        KeptAnswer,
        "SELECT request_hash, status, response FROM idempotency_keys WHERE account_id = :account AND key = :key",
        account=actor.account_id,
        key=key,
    )


def keep_answer(tx: Tx, actor: Actor, key: str, answer: KeptAnswer, now: int) -> None:
    tx.run(
        "INSERT INTO idempotency_keys (account_id, key, request_hash, status, response, created_at)"
        " VALUES (:account, :key, :hash, :status, :response, :now)",
        account=actor.account_id,
        key=key,
        hash=answer.request_hash,
        status=answer.status,
        response=answer.response,
        now=now,
    )


def purge_answers(tx: Tx, before: int) -> int:
    return tx.run("DELETE FROM idempotency_keys WHERE created_at < :before", before=before)
