"""A length that is remembered is the one that is counted: in a tree that forks, and with its context cleared."""

from __future__ import annotations

import random

import pytest

from chatserver.chat.lengths import NEAR, Lengths
from chatserver.clock import new_id, now_us
from chatserver.domain.messages import Message, TextPart
from chatserver.store import messages as message_rows
from chatserver.store.database import Tx
from tests.chat.conftest import Person


async def test_what_is_remembered_is_what_is_counted(ann: Person) -> None:
    chat = await ann.start()
    chance = random.Random(7)
    ids: list[str] = []

    def grow(tx: Tx) -> None:
        for number in range(3 * NEAR):
            parent = None if not ids else ids[-1] if chance.random() < 0.9 else chance.choice(ids)
            role = "user" if number % 2 == 0 else "assistant"
            message = Message(new_id(), chat, parent, role, "done", (TextPart("a"),), "", now_us())  # type: ignore[arg-type]
            message_rows.insert_message(tx, message)
            ids.append(message.id)

    lengths = Lengths()

    def differing(tx: Tx) -> list[str]:
        chance.shuffle(ids)
        return [one for one in ids if lengths.of(tx, chat, one) != message_rows.length_to(tx, chat, one)]

    await ann.house.db.write(grow)
    assert await ann.house.db.read(differing) == []
    for cleared in chance.sample(ids, 2):
        await ann.house.conversations.clear_context(ann.actor, chat, cleared)
        assert await ann.house.db.read(differing) == []
    await ann.house.conversations.restore_context(ann.actor, chat, cleared)
    assert await ann.house.db.read(differing) == []


async def test_a_long_branch_is_walked_once(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = await ann.start()
    walked: list[str] = []
    lengths = Lengths()

    def grow(tx: Tx) -> list[str]:
        parent, ids = None, []
        for _ in range(4 * NEAR):
            message = Message(new_id(), chat, parent, "user", "done", (TextPart("a"),), "", now_us())
            message_rows.insert_message(tx, message)
            ids.append(parent := message.id)
        return ids

    ids = await ann.house.db.write(grow)
    whole = message_rows.length_to
    monkeypatch.setattr(message_rows, "length_to", lambda tx, c, tip: walked.append(tip) or whole(tx, c, tip))
    for tip in ids[2 * NEAR :: NEAR // 4]:
        assert await ann.house.db.read(lambda tx, tip=tip: lengths.of(tx, chat, tip)) == ids.index(tip) + 1
    assert len(walked) == 1
