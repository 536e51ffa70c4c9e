"""What admins decided about models: which may be used, and by whom. A model without a row is on, for everybody."""

from __future__ import annotations

import msgspec

from chatserver.domain.channels import ModelRule
from chatserver.store import channels as channel_rows
from chatserver.store.database import Tx

_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode


class _Row(msgspec.Struct, frozen=True):
    model: str
    is_on: bool
    groups: str


def model_rules(tx: Tx) -> list[ModelRule]:
    rows = tx.all(_Row, "SELECT model, is_on, groups FROM model_rules ORDER BY model")
    return [ModelRule(row.model, row.is_on, _decode_names(row.groups)) for row in rows]


def put_model_rule(tx: Tx, rule: ModelRule, now: int) -> None:
    """In place of the one there was; every node hears of it as of a changed channel."""
    tx.run(
        "INSERT INTO model_rules (model, is_on, groups, changed_at) VALUES (:model, :is_on, :groups, :now)"
        " ON CONFLICT (model) DO UPDATE SET is_on = excluded.is_on, groups = excluded.groups,"
        " changed_at = excluded.changed_at",
        model=rule.model,
        is_on=int(rule.is_on),
        groups=msgspec.json.encode(rule.groups).decode(),
        now=now,
    )
    channel_rows.note_change(tx, rule.model, now)
