"""What was sent for each turn, as rows: a small record a turn, and the texts they share, once a conversation."""

from __future__ import annotations

from chatserver.domain.prompts import PromptRecord, Texts, decode_record, encode_record, texts_of
from chatserver.domain.turns import Turn
from chatserver.store.database import Tx


def keep_prompt(tx: Tx, turn: Turn, record: PromptRecord, texts: Texts) -> None:
    """Keep what was sent for a turn; twice is once. The texts are seen to again at the end of a turn, under the lock of
    its conversation: what it shares with a branch that was just erased may have gone with that."""
    tx.queue(
        "INSERT INTO turn_prompts (turn_id, conversation_id, record) VALUES (:turn, :conversation, :record)"
        " ON CONFLICT (turn_id) DO NOTHING",
        turn=turn.id,
        conversation=turn.conversation_id,
        record=encode_record(record).decode(),
    )
    for name, body in sorted(texts.items()):
        tx.queue(
            "INSERT INTO prompt_texts (conversation_id, hash, body) VALUES (:conversation, :hash, :body)"
            " ON CONFLICT (conversation_id, hash) DO NOTHING",
            conversation=turn.conversation_id,
            hash=name,
            body=body,
        )


def prompt_of(tx: Tx, turn: Turn) -> tuple[PromptRecord, Texts] | None:
    """What was kept for a turn that the caller has found to be the actor's."""
    text = tx.one(str, "SELECT record FROM turn_prompts WHERE turn_id = :turn", turn=turn.id)
    if text is None:
        return None
    record = decode_record(text)
    texts: Texts = {}
    for name in sorted(texts_of(record)):
        body = tx.one(
            str,
            "SELECT body FROM prompt_texts WHERE conversation_id = :conversation AND hash = :hash",
            conversation=turn.conversation_id,
            hash=name,
        )
        if body is not None:
            texts[name] = body
    return record, texts


def forget_reply(tx: Tx, conversation_id: str, reply_id: str) -> None:
    """A reply is erased, and what was sent for it."""
    tx.run(
        "DELETE FROM turn_prompts WHERE conversation_id = :conversation"
        " AND turn_id IN (SELECT id FROM turns WHERE reply_id = :reply)",
        conversation=conversation_id,
        reply=reply_id,
    )


def forget_texts(tx: Tx, conversation_id: str) -> None:
    """Erase the texts of a conversation that no prompt of it names any more; the caller holds its lock."""
    named: set[str] = set()
    for text in tx.all(str, "SELECT record FROM turn_prompts WHERE conversation_id = :id", id=conversation_id):
        named |= texts_of(decode_record(text))
    for name in tx.all(str, "SELECT hash FROM prompt_texts WHERE conversation_id = :id", id=conversation_id):
        if name not in named:
            tx.run(
                "DELETE FROM prompt_texts WHERE conversation_id = :id AND hash = :hash", id=conversation_id, hash=name
            )


def forget_conversation(tx: Tx, conversation_id: str) -> None:
    tx.run("DELETE FROM turn_prompts WHERE conversation_id = :id", id=conversation_id)
    tx.run("DELETE FROM prompt_texts WHERE conversation_id = :id", id=conversation_id)
