"""Accounts that are deleted: shut at once, then erased row by row; what of them stays is named here."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.events import AccountErased
from chatserver.store import outbox
from chatserver.store.database import Tx

ERASED = (
    ("sessions", "account_id"),
    ("api_keys", "account_id"),
    ("idempotency_keys", "account_id"),
    ("files", "owner_id"),
    ("folders", "owner_id"),
)
"""Tables that hold rows of an account beside its conversations, and the column that says whose; what hangs on them
cascades. A new one belongs here, or into KEPT; a test compares both with the schema."""
WITH_CONVERSATIONS = ("conversations", "shares", "turns", "conversation_tags")
"""Erased with each conversation."""
KEPT = ("calls",)
"""What was used stays counted, by the account's id, without a word of what was said."""


class Holdings(msgspec.Struct, frozen=True):
    """What an account has, in numbers, to be told before it is deleted."""

    conversations: int
    messages: int
    shares: int
    keys: int
    files: int


def holdings_of(tx: Tx, actor: Actor) -> Holdings:
    """Deleted conversations that could still be taken back are counted too."""

    def count(sql: str) -> int:
        return tx.one(int, f"SELECT COUNT(*) {sql}", owner=actor.account_id) or 0

    return Holdings(
        conversations=count("FROM conversations WHERE owner_id = :owner"),
        messages=count("FROM messages m JOIN conversations c ON c.id = m.conversation_id WHERE c.owner_id = :owner"),
        shares=count("FROM shares WHERE owner_id = :owner"),
        keys=count("FROM api_keys WHERE account_id = :owner AND revoked_at IS NULL"),
        files=count("FROM files WHERE owner_id = :owner"),
    )


def has_other_admin(tx: Tx, actor: Actor) -> bool:
    """Whether somebody else could still look after the server."""
    sql = "SELECT 1 FROM accounts WHERE role = 'admin' AND state = 'active' AND id <> :id LIMIT 1"
    return tx.one(int, sql, id=actor.account_id) is not None


def shut(tx: Tx, actor: Actor, now: int) -> None:
    """From now on nobody gets in: no session, no key, no link; the address is free again. Erasing comes after."""
    account_id = actor.account_id
    tx.run(
        "UPDATE accounts SET state = 'disabled', role = 'member', email = :email, name = '', settings = '{}',"
        " leaving_since = :now WHERE id = :id",
        email=f"{account_id}@erased.invalid",
        now=now,
        id=account_id,
    )
    tx.run("DELETE FROM sessions WHERE account_id = :id", id=account_id)
    tx.run("DELETE FROM api_keys WHERE account_id = :id", id=account_id)


def leaving_accounts(tx: Tx, after: str, limit: int) -> list[str]:
    return tx.all(
        str,
        "SELECT id FROM accounts WHERE leaving_since > 0 AND id > :after ORDER BY id LIMIT :limit",
        after=after,
        limit=limit,
    )


def conversations_left(tx: Tx, account_id: str, limit: int) -> list[str]:
    """Of an account that is leaving, those in which nothing is being written any more."""
    return tx.all(
        str,
        "SELECT c.id FROM conversations c JOIN accounts a ON a.id = c.owner_id WHERE a.id = :id AND a.leaving_since > 0"
        " AND NOT EXISTS (SELECT 1 FROM turns t WHERE t.conversation_id = c.id AND t.state = 'running')"
        " ORDER BY c.id LIMIT :limit",
        id=account_id,
        limit=limit,
    )


def erase_account(tx: Tx, account_id: str) -> bool:
    """The last of it. False, and nothing happened: there are conversations left, or it is not leaving."""
    left = tx.one(int, "SELECT 1 FROM conversations WHERE owner_id = :id LIMIT 1", id=account_id)
    leaving = tx.one(int, "SELECT 1 FROM accounts WHERE id = :id AND leaving_since > 0", id=account_id)
    if left is not None or leaving is None:
        return False
    for table, column in ERASED:
        tx.run(f"DELETE FROM {table} WHERE {column} = :id", id=account_id)
    if not tx.run("DELETE FROM accounts WHERE id = :id", id=account_id):
        return False  # another node was as far
    outbox.append(tx, AccountErased(account_id))
    return True
