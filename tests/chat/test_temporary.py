"""A temporary chat is in no list, search or export; it lasts while it is used, and then nothing of it is left."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatserver.chat import temporary as rules
from chatserver.chat.doctor import examine
from chatserver.chat.exports import Exports
from chatserver.clock import monotonic_s, now_us
from chatserver.domain.conversations import Sent
from chatserver.errors import Conflict, NotFound
from chatserver.store import tables
from chatserver.store.schema import CORE
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person

HOUR_US = 3_600_000_000


async def whisper(ann: Person, text: str = "a whispered word", model: str = "fake-n5") -> Sent:
    sent = await ann.house.sending.send(ann.actor, None, None, text, model, temporary=True)
    await ann.ended(sent.turn_id)
    return sent


async def sweep(ann: Person, monkeypatch: pytest.MonkeyPatch, after_us: int = 0) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(rules, "now_us", lambda: now_us() + after_us)
        await ann.house.temporaries.erase_over({})


async def is_there(ann: Person, conversation_id: str) -> bool:
    rows = await ann.house.db.read(lambda tx: tx.all(str, "SELECT id FROM conversations"))
    return conversation_id in rows


async def rows_about(ann: Person, conversation_id: str) -> dict[str, int]:
    """Every table of the core that still names the conversation, or a message or turn of it that is given."""

    def look(tx: Any) -> dict[str, int]:
        found = {}
        for named in [*tables.tables_of([("core", CORE)]), tables.Named("search_entries")]:
            columns = tables.describe(tx, named).columns
            if "conversation_id" in columns:
                sql = f"SELECT COUNT(*) FROM {named.name} WHERE conversation_id = :id"
                found[named.name] = tx.one(int, sql, id=conversation_id)
        return {name: count for name, count in found.items() if count}

    return await ann.house.db.read(look)


async def test_it_is_durable_and_found_by_its_address_alone(ann: Person) -> None:
    sent = await whisper(ann)
    lines, _ = await ann.house.conversations.list(ann.actor)
    assert lines == []
    assert await ann.house.conversations.search(ann.actor, "whispered") == []
    exported = b"".join([piece async for piece in Exports(ann.house.db, "test").export([ann.actor.account])])
    assert b"whispered" not in exported
    view = await ann.house.conversations.view(ann.actor, sent.conversation_id)
    assert view.conversation.temporary and len(view.items) == 2


async def test_no_model_is_asked_for_its_title(ann: Person, fake_upstream: FakeUpstream) -> None:
    sent = await whisper(ann)
    again = await ann.ask(sent.conversation_id, "more", parent=sent.reply_id)
    assert again.reply_id and len(fake_upstream.chats()) == 2
    jobs = await ann.house.db.read(lambda tx: tx.all(str, "SELECT id FROM jobs WHERE kind = 'title'"))
    assert jobs == []


async def test_it_is_erased_a_day_after_its_last_message(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await whisper(ann)
    await ann.house.conversations.clear_context(ann.actor, sent.conversation_id, sent.reply_id)
    kept = await ann.ask(await ann.start(), "kept")
    await sweep(ann, monkeypatch, 23 * HOUR_US)
    assert await is_there(ann, sent.conversation_id)
    await sweep(ann, monkeypatch, 25 * HOUR_US)
    assert not await is_there(ann, sent.conversation_id)
    assert await rows_about(ann, sent.conversation_id) == {}
    with pytest.raises(NotFound):
        await ann.house.conversations.view(ann.actor, sent.conversation_id)
    assert await is_there(ann, kept.conversation_id) and await examine(ann.house.db) == []


async def test_closed_it_lasts_a_quarter_of_an_hour_and_opened_again_it_stays(
    ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await whisper(ann)
    temporaries = ann.house.temporaries
    await temporaries.close(ann.actor, sent.conversation_id)
    await sweep(ann, monkeypatch, HOUR_US // 6)
    assert await is_there(ann, sent.conversation_id)
    await temporaries.open(ann.actor, sent.conversation_id)
    await sweep(ann, monkeypatch, HOUR_US)
    assert await is_there(ann, sent.conversation_id)
    await temporaries.close(ann.actor, sent.conversation_id)
    await ann.ask(sent.conversation_id, "still here", parent=sent.reply_id)
    await sweep(ann, monkeypatch, HOUR_US)
    assert await is_there(ann, sent.conversation_id), "who writes is there"
    await temporaries.close(ann.actor, sent.conversation_id)
    await sweep(ann, monkeypatch, HOUR_US // 3)
    assert not await is_there(ann, sent.conversation_id)


async def test_an_open_page_does_not_keep_it_for_ever(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await whisper(ann)
    await ann.house.temporaries.open(ann.actor, sent.conversation_id)
    await sweep(ann, monkeypatch, 25 * HOUR_US)
    assert not await is_there(ann, sent.conversation_id)


async def test_ended_it_is_gone_at_once(ann: Person) -> None:
    sent = await whisper(ann)
    await ann.house.temporaries.end(ann.actor, sent.conversation_id)
    assert not await is_there(ann, sent.conversation_id)
    with pytest.raises(NotFound):
        await ann.house.temporaries.end(ann.actor, sent.conversation_id)


async def test_ended_while_an_answer_is_written_it_is_gone_after_that(ann: Person) -> None:
    sent = await ann.house.sending.send(ann.actor, None, None, "wait", "fake-hang", temporary=True)
    await ann.house.temporaries.end(ann.actor, sent.conversation_id)
    with pytest.raises(NotFound):
        await ann.house.conversations.view(ann.actor, sent.conversation_id)
    deadline = monotonic_s() + 10
    while await is_there(ann, sent.conversation_id):
        assert monotonic_s() < deadline, "it was never erased"
        await asyncio.sleep(0.02)
        await ann.house.temporaries.erase_over({})
    assert await rows_about(ann, sent.conversation_id) == {}


async def test_kept_it_is_a_chat_like_any_other(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await whisper(ann)
    found = await ann.house.temporaries.keep(ann.actor, sent.conversation_id)
    assert not found.temporary and found.title == "a whispered word"
    lines, _ = await ann.house.conversations.list(ann.actor)
    assert [line.id for line in lines] == [sent.conversation_id]
    assert {hit.conversation_id for hit in await ann.house.conversations.search(ann.actor, "whispered")} == {
        sent.conversation_id
    }
    await sweep(ann, monkeypatch, 1_000 * HOUR_US)
    assert await is_there(ann, sent.conversation_id)
    with pytest.raises(Conflict):
        await ann.house.temporaries.end(ann.actor, sent.conversation_id)
    with pytest.raises(NotFound):
        await ann.house.temporaries.close(ann.actor, sent.conversation_id)
    await ann.house.shares.create(ann.actor, sent.conversation_id)


async def test_a_deleted_one_is_erased_in_its_time(ann: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = await whisper(ann)
    await ann.house.conversations.delete(ann.actor, sent.conversation_id)
    await sweep(ann, monkeypatch, 25 * HOUR_US)
    assert not await is_there(ann, sent.conversation_id)


async def test_it_cannot_be_shared_and_is_nobody_elses(ann: Person, bob: Person) -> None:
    sent = await whisper(ann)
    with pytest.raises(Conflict, match="Keep it first"):
        await ann.house.shares.create(ann.actor, sent.conversation_id)
    temporaries = ann.house.temporaries
    for use in (temporaries.keep, temporaries.end, temporaries.open, temporaries.close):
        with pytest.raises(NotFound):
            await use(bob.actor, sent.conversation_id)
    assert (await ann.house.conversations.get(ann.actor, sent.conversation_id)).temporary
