"""The newest calls of the whole house, for who runs it."""

from __future__ import annotations

import msgspec

from chatserver.domain.calls import Usage
from chatserver.domain.overview import PastCall
from chatserver.store.database import Tx

_decode_usage = msgspec.json.Decoder(Usage).decode


class _Row(msgspec.Struct, frozen=True):
    model: str
    state: str
    account_id: str
    started_at: int
    first_token_at: int | None
    usage: str


def past_calls(tx: Tx, *, since: int, since_id: str, most: int) -> list[PastCall]:
    """Those that people and programs made, the newest first. since_id: an id of that time, because calls are found by
    their ids."""
    rows = tx.all(
        _Row,
        "SELECT model, state, account_id, started_at, first_token_at, usage FROM calls"
        " WHERE id >= :since_id AND started_at >= :since AND kind <> 'probe' ORDER BY id DESC LIMIT :most",
        since_id=since_id,
        since=since,
        most=most,
    )
    return [
        PastCall(row.model, row.state, row.account_id, row.started_at, row.first_token_at, _decode_usage(row.usage))
        for row in rows
    ]
