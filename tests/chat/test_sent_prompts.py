"""What was sent, shown to its owner, is what the upstream received; nobody else sees it, and it costs little."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from chatserver import Prompt, PromptMessage, TextPart, ToolSpec, hookimpl
from chatserver.chat.housekeeping import DELETIONS_KEPT_US, Housekeeping
from chatserver.chat.tunings import TuningChange
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.messages import text_of
from chatserver.domain.prompts import SentPrompt
from chatserver.errors import Conflict, NotFound
from chatserver.house import House
from chatserver.store.database import Tx
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until

CANARY = "the-house-secret-prompt"


class Memory:
    """Adds what everybody may see, what nobody may, a tool and a parameter; and changes the last question."""

    @hookimpl
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        *before, last = prompt.messages
        changed = PromptMessage(last.role, (TextPart(text_of(last.parts) + "\n\nIn one line."),))
        return msgspec.structs.replace(
            prompt,
            messages=(
                PromptMessage("system", (TextPart(CANARY),), is_hidden=True),
                PromptMessage("system", (TextPart("They like tea. " * 30),)),
                *before,
                changed,
            ),
            tools=(ToolSpec("look", "Looks something up.", {"type": "object"}),),
            parameters={"top_p": 0.5, **prompt.parameters},
        )


@pytest.fixture
async def eve(place: Place, fake_upstream: FakeUpstream) -> AsyncIterator[Person]:
    house = await open_house(place, fake_upstream, plugins=[("memory", Memory())])
    yield Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    await close_house(house)


def as_received(sent: SentPrompt) -> list[dict[str, Any]]:
    return [{"role": one.message.role, "content": text_of(one.message.parts)} for one in sent.messages]


async def rows(house: House, table: str) -> int:
    return await house.db.read(lambda tx: tx.one(int, f"SELECT COUNT(*) FROM {table}")) or 0


async def test_it_is_what_the_upstream_received(ann: Person, fake_upstream: FakeUpstream) -> None:
    house, actor = ann.house, ann.actor
    chat = await ann.start()
    one = await ann.ask(chat, "one", model="fake-think5-n5")
    await house.conversations.update(actor, chat, tuning=TuningChange("Be brief.", 0.25, 99))
    two = await ann.ask(chat, "two", parent=one.reply_id)
    received = fake_upstream.chats()[-1].json
    sent = await house.sent_prompts.read(actor, two.turn_id or "")
    assert as_received(sent) == received["messages"]
    assert [m.source for m in sent.messages] == ["added", "branch", "branch", "branch"]
    assert (sent.parameters["temperature"], sent.max_output) == (received["temperature"], received["max_tokens"])
    assert sent.turn.model == received["model"] and sent.turn.attempts[0].channel == "fake"
    assert sent.is_exact and not sent.is_cleared

    # what is set later changes nothing of what was sent
    await house.conversations.update(actor, chat, tuning=TuningChange("Be long.", 1.0, None))
    edited = await house.sending.edit(actor, one.reply_id, "I said something else")
    assert as_received(await house.sent_prompts.read(actor, two.turn_id or "")) == received["messages"]
    await house.conversations.clear_context(actor, chat, edited.reply_id)
    three = await ann.ask(chat, "three", parent=edited.reply_id)
    sent = await house.sent_prompts.read(actor, three.turn_id or "")
    assert as_received(sent) == fake_upstream.chats()[-1].json["messages"]
    assert sent.is_cleared and len(sent.messages) == 2


async def test_a_continuation_shows_the_two_as_one(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    cut = await ann.ask(chat, "go", model="fake-n20-gap20-cut5")
    more = await ann.house.sending.continue_reply(ann.actor, cut.reply_id)
    await ann.ended(more.turn_id)
    after = await ann.ask(chat, "and then?", parent=more.reply_id)
    for turn in (more, after):
        received = fake_upstream.chats()[1 if turn is more else 2].json
        sent = await ann.house.sent_prompts.read(ann.actor, turn.turn_id or "")
        assert as_received(sent) == received["messages"] and sent.is_exact


async def test_what_plugins_add_is_kept_once_and_what_they_hide_not_at_all(
    eve: Person, fake_upstream: FakeUpstream
) -> None:
    house, actor = eve.house, eve.actor
    chat = await eve.start()
    parent = None
    for number in range(3):
        asked = await eve.ask(chat, f"question {number}", parent=parent)
        parent = asked.reply_id
    received = fake_upstream.chats()[-1].json
    sent = await house.sent_prompts.read(actor, asked.turn_id or "")
    assert received["messages"][0]["content"] == CANARY
    assert as_received(sent)[1:] == received["messages"][1:]
    assert sent.messages[0].source == "hidden" and sent.messages[0].message.parts == ()
    assert sent.tools[0].name == received["tools"][0]["function"]["name"] == "look"
    assert sent.parameters["top_p"] == received["top_p"]
    assert await rows(house, "turn_prompts") == 3
    assert await rows(house, "prompt_texts") == 1 + 1 + 3, "what is said every time, the tools, and each last question"
    kept = await house.db.read(
        lambda tx: tx.all(str, "SELECT body FROM prompt_texts UNION SELECT record FROM turn_prompts")
    )
    assert CANARY not in "".join(kept)


async def test_it_grows_with_the_messages_and_not_with_the_branch(ann: Person) -> None:
    chat = await ann.start()
    await ann.house.conversations.update(ann.actor, chat, tuning=TuningChange("Rule. " * 500))
    parent = None
    for number in range(12):
        parent = (await ann.ask(chat, f"question {number}", parent=parent)).reply_id
    size = await ann.house.db.read(lambda tx: tx.one(int, "SELECT SUM(LENGTH(record)) FROM turn_prompts"))
    assert size is not None and size < 12 * 400
    assert await rows(ann.house, "prompt_texts") == 1


async def test_somebody_elses_and_unknown_and_deleted_ones_are_not_there(ann: Person, bob: Person) -> None:
    chat = await ann.start()
    asked = await ann.ask(chat, "mine")
    for person, turn_id in ((bob, asked.turn_id), (ann, "unknown"), (bob, "unknown")):
        with pytest.raises(NotFound):
            await person.house.sent_prompts.read(person.actor, turn_id or "")
    await ann.house.conversations.delete_message(ann.actor, asked.reply_id)
    with pytest.raises(NotFound):
        await ann.house.sent_prompts.read(ann.actor, asked.turn_id or "")


async def test_it_is_kept_with_the_first_words_and_survives_a_stop(ann: Person) -> None:
    house, actor = ann.house, ann.actor
    waiting = await house.sending.send(actor, None, None, "hello", "fake-hang")
    live = house.live.get(waiting.turn_id or "")
    assert live is not None
    await until(lambda: live.prompt is not None)
    with pytest.raises(Conflict):
        await house.sent_prompts.read(actor, waiting.turn_id or "")
    await house.conversations.stop(actor, waiting.turn_id or "")
    await ann.ended(waiting.turn_id)
    assert len((await house.sent_prompts.read(actor, waiting.turn_id or "")).messages) == 1

    talking = await house.sending.send(actor, None, None, "hello", "fake-n200-gap10")
    there = "SELECT 1 FROM turn_prompts WHERE turn_id = :id"
    async with asyncio.timeout(5):
        while not await house.db.read(lambda tx: tx.one(int, there, id=talking.turn_id or "")):
            await asyncio.sleep(0.01)
    assert (await house.readers.turn(actor, talking.turn_id or "")).state == "running"
    assert len((await house.sent_prompts.read(actor, talking.turn_id or "")).messages) == 1
    await house.conversations.stop(actor, talking.turn_id or "")
    await ann.ended(talking.turn_id)


async def test_it_is_erased_with_its_turn(ann: Person) -> None:
    house, actor = ann.house, ann.actor
    chat = await ann.start()
    await house.conversations.update(actor, chat, tuning=TuningChange("First."))
    one = await ann.ask(chat, "one")
    await house.conversations.update(actor, chat, tuning=TuningChange("Second."))
    two = await ann.ask(chat, "two", parent=one.reply_id)
    assert await rows(house, "prompt_texts") == 2
    await house.conversations.delete_message(actor, two.question_id or "")

    async def pass_a_month() -> None:
        def age(tx: Tx) -> None:
            tx.run("UPDATE deletions SET created_at = :at", at=now_us() - DELETIONS_KEPT_US - 1)

        await house.db.write(age)
        await Housekeeping(house.db, lambda: False).run({})

    await pass_a_month()
    assert (await rows(house, "turn_prompts"), await rows(house, "prompt_texts")) == (1, 1)
    assert len((await house.sent_prompts.read(actor, one.turn_id or "")).messages) == 2
    await house.conversations.delete(actor, chat)
    await pass_a_month()
    assert (await rows(house, "turn_prompts"), await rows(house, "prompt_texts")) == (0, 0)
