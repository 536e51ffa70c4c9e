"""Accounts a page at a time, found by address or name; of ten thousand no more are read than are shown."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from chatserver.domain.access import AccountFilter, AccountPage
from chatserver.store.accounts import ACCOUNT_COLUMNS, AccountRow
from chatserver.store.database import Tx, Value

# REPLACE is the one way of looking into a text that both engines have and that knows no wildcards. SQLite lowers
# letters of ASCII only, so a name is tried as it was typed, too, and as names are written.
_MATCHES = (
    "(:text = '' OR replace(a.email, :text, '') <> a.email OR replace(lower(a.name), :text, '') <> lower(a.name)"
    " OR replace(a.name, :typed, '') <> a.name OR replace(a.name, :titled, '') <> a.name)"
    " AND (:role = '' OR a.role = :role) AND (:state = '' OR a.state = :state)"
)


class _Email(msgspec.Struct, frozen=True):
    id: str
    email: str


def find_accounts(tx: Tx, wanted: AccountFilter, page: int, size: int) -> AccountPage:
    """The oldest first. A page beyond the last is the last. Two statements, however many accounts there are."""
    text = wanted.text
    values: dict[str, Value] = {
        "text": text.lower(),
        "typed": text,
        "titled": text.title(),
        "role": wanted.role,
        "state": wanted.state,
    }
    count = tx.one(int, f"SELECT COUNT(*) FROM accounts a WHERE {_MATCHES}", **values) or 0
    pages = max(1, -(-count // size))
    number = min(max(1, page), pages)
    rows = tx.all(
        AccountRow,
        f"SELECT {ACCOUNT_COLUMNS} FROM accounts a WHERE {_MATCHES} ORDER BY a.id LIMIT :size OFFSET :skipped",
        **values,
        size=size,
        skipped=(number - 1) * size,
    )
    return AccountPage(tuple(row.account() for row in rows), count, number, pages)


def emails_of(tx: Tx, account_ids: Collection[str]) -> dict[str, str]:
    """By id, of those that are accounts."""
    ids = {f"id_{at}": one for at, one in enumerate(sorted(set(account_ids)))}
    if not ids:
        return {}
    places = ", ".join(f":{name}" for name in ids)
    rows = tx.all(_Email, f"SELECT id, email FROM accounts WHERE id IN ({places})", **ids)
    return {row.id: row.email for row in rows}
