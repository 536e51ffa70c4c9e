"""What a person set for one chat, as two columns of its row."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.tuning import Tuning, decode_parameters, encode_parameters
from chatserver.store.database import Tx


class _Row(msgspec.Struct, frozen=True):
    system_prompt: str
    parameters: str


def tuning_of(tx: Tx, owner_id: str, conversation_id: str) -> Tuning | None:
    """What is set for a conversation of this owner's, hidden or not; None when it is not there, or not there yet."""
    row = tx.one(
        _Row,
        "SELECT system_prompt, parameters FROM conversations WHERE id = :id AND owner_id = :owner",
        id=conversation_id,
        owner=owner_id,
    )
    return Tuning(row.system_prompt, decode_parameters(row.parameters)) if row else None


def set_tuning(tx: Tx, actor: Actor, conversation_id: str, tuning: Tuning) -> None:
    tx.run(
        "UPDATE conversations SET system_prompt = :prompt, parameters = :parameters"
        " WHERE id = :id AND owner_id = :owner",
        prompt=tuning.system_prompt,
        parameters=encode_parameters(tuning.parameters).decode(),
        id=conversation_id,
        owner=actor.account_id,
    )
