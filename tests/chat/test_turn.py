"""A turn from its first delta to its one end: streamed, stored, stopped, cut, resumed, recovered, metered once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatserver import Admission, CallEnded, Delivery, Prompt, PromptMessage, Refusal, TextPart, hookimpl
from chatserver.chat.live import LiveTurn
from chatserver.chat.sending import IdempotencyKey
from chatserver.domain.access import Actor
from chatserver.domain.messages import text_of
from chatserver.domain.turns import FOREIGN_END_OFFSET, TextDelta
from chatserver.errors import BadInput, LimitReached, Refused
from chatserver.house import House
from chatserver.store import turns as turn_rows
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until


async def test_readers_see_the_same_text_in_order_from_any_cursor(ann: Person) -> None:
    chat = await ann.start()
    sent = await ann.house.sending.send(ann.actor, chat, None, "go", "fake-n200-gap10")
    whole = asyncio.create_task(ann.read(sent.turn_id))
    live = ann.house.live.get(sent.turn_id or "")
    assert live is not None
    await until(lambda: live.last_seq > 20)
    late = asyncio.create_task(ann.read(sent.turn_id, 10))
    text, numbers, end = await whole
    late_text, late_numbers, _ = await late
    assert numbers == list(range(1, len(numbers) + 1))
    assert late_numbers == numbers[10:]
    assert text.endswith(late_text)
    assert end is not None
    assert end.state == "done"
    stored, stored_numbers, _ = await ann.read(sent.turn_id)
    assert (stored, stored_numbers) == (text, numbers)
    middle, _, _ = await ann.read(sent.turn_id, 57)
    assert text.endswith(middle)
    message = (await ann.house.conversations.path(ann.actor, chat))[-1]
    assert text_of(message.parts) == text


async def test_usage_is_measured_when_told_and_estimated_when_not(ann: Person) -> None:
    chat = await ann.start()
    told = await ann.ask(chat, "one")
    turn = await ann.ended(told.turn_id)
    assert turn.usage.output > 0
    assert not turn.usage.estimated
    untold = await ann.ask(chat, "two", model="fake-n3-nousage")
    turn = await ann.ended(untold.turn_id)
    assert turn.usage.estimated
    assert turn.usage.output > 0


async def test_reasoning_is_a_part_of_its_own_and_never_sent_back(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    one = await ann.ask(chat, "one", model="fake-think5-n5")
    message = (await ann.house.conversations.path(ann.actor, chat))[-1]
    assert [part.__struct_config__.tag for part in message.parts] == ["reasoning", "text"]
    await ann.ask(chat, "two", parent=one.reply_id)
    assert fake_upstream.chats()[-1].json["messages"][1]["content"] == text_of(message.parts)


async def test_stop_closes_the_upstream_and_keeps_the_text(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    sent = await ann.house.sending.send(ann.actor, chat, None, "go", "fake-n200-gap10")
    live = ann.house.live.get(sent.turn_id or "")
    assert live is not None
    await until(lambda: live.last_seq > 5)
    await ann.house.conversations.stop(ann.actor, sent.turn_id or "")
    await ann.house.conversations.stop(ann.actor, sent.turn_id or "")
    turn = await ann.ended(sent.turn_id)
    assert turn.state == "stopped"
    await asyncio.to_thread(fake_upstream.wait, lambda up: all(c.closed_ns for c in up.connections), 10.0)
    assert fake_upstream.connections[-1].sent_tokens < 200
    message = (await ann.house.conversations.path(ann.actor, chat))[-1]
    assert message.state == "stopped"
    assert text_of(message.parts)


async def test_a_cut_answer_is_kept_and_continued_as_a_child(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    sent = await ann.ask(chat, "go", model="fake-n20-gap20-cut5")
    turn = await ann.ended(sent.turn_id)
    assert turn.state == "interrupted"
    first = (await ann.house.conversations.path(ann.actor, chat))[-1]
    more = await ann.house.sending.continue_reply(ann.actor, sent.reply_id)
    await ann.ended(more.turn_id)
    path = await ann.house.conversations.path(ann.actor, chat)
    assert path[-1].parent_id == sent.reply_id
    assert path[-1].continues
    assert fake_upstream.chats()[-1].json["messages"][-1]["content"] == text_of(first.parts)
    last = await ann.ask(chat, "and?", parent=more.reply_id)
    merged = fake_upstream.chats()[-1].json["messages"]
    assert [m["role"] for m in merged] == ["user", "assistant", "user"]
    assert merged[1]["content"] == text_of(first.parts) + text_of(path[-1].parts)
    assert last.turn_id


@pytest.mark.parametrize(
    ("model", "code"), [("fake-err500", "upstream_server"), ("fake-err401", "upstream_key_refused")]
)
async def test_a_failing_upstream_ends_the_turn_as_failed_with_a_reason(ann: Person, model: str, code: str) -> None:
    chat = await ann.start()
    sent = await ann.ask(chat, "go", model=model)
    turn = await ann.ended(sent.turn_id)
    assert turn.state == "failed"
    assert turn.error is not None
    assert turn.error.code == code
    assert turn.attempts


async def test_the_same_key_is_one_message_and_one_call_however_often(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    key = IdempotencyKey("abc", b"the body")
    answers = await asyncio.gather(
        *(ann.house.sending.send(ann.actor, chat, None, "once", "fake-n5", idempotency=key) for _ in range(50))
    )
    assert len({answer.turn_id for answer in answers}) == 1
    await ann.ended(answers[0].turn_id)
    assert len(fake_upstream.chats()) == 1
    assert len(await ann.house.conversations.tree(ann.actor, chat)) == 2
    with pytest.raises(BadInput) as refused:
        await ann.house.sending.send(
            ann.actor, chat, None, "other", "fake-n5", idempotency=IdempotencyKey("abc", b"another body")
        )
    assert (refused.value.code, refused.value.status) == ("idempotency_mismatch", 422)


async def test_limit_of_turns_per_account(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream, limits={"turns_per_account": 4})
    try:
        person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
        chat = await person.start()

        async def attempt() -> str:
            try:
                await house.sending.send(person.actor, chat, None, "go", "fake-n200-gap10")
            except LimitReached as refused:
                return refused.code
            return "sent"

        results = await asyncio.gather(*(attempt() for _ in range(10)))
        assert sorted(results) == ["sent"] * 4 + ["turns_per_account"] * 6
    finally:
        await close_house(house)


@pytest.mark.parametrize("engine", ["sqlite"])  # where no lock tells of a death, leases do: tests/flows/test_nodes.py
async def test_after_a_crash_every_turn_is_interrupted_with_its_text_and_readers_are_told(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    house = await open_house(place, fake_upstream)
    person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    chat = await person.start()
    sent = await house.sending.send(person.actor, chat, None, "go", "fake-n200-gap10")
    live = house.live.get(sent.turn_id or "")
    assert live is not None
    await until(lambda: live.stored_seq > 10)
    live.is_ending = True  # as if the process were gone: nothing of this turn is written any more
    seen = live.last_seq
    other = await open_house(place, fake_upstream)
    try:
        again = Person(other, person.actor)
        turn = await other.readers.turn(person.actor, sent.turn_id or "")
        assert turn.state == "interrupted"
        assert turn.last_seq > FOREIGN_END_OFFSET
        text, numbers, end = await again.read(sent.turn_id, seen)
        assert len(numbers) == 2
        assert end is not None
        assert end.usage.estimated
        message = (await other.conversations.path(person.actor, chat))[-1]
        assert message.state == "interrupted"
        assert text_of(message.parts) == text
        assert text
        assert await person.house.db.read(lambda tx: turn_rows.running_of_account(tx, person.actor.account_id)) == 0
    finally:
        await close_house(other)
        await close_house(house)


class Watching:
    """A plugin that refuses one model, labels calls and writes down events."""

    def __init__(self) -> None:
        self.events: list[Delivery] = []
        self.asked: list[Admission] = []

    @hookimpl()
    async def admit_call(self, admission: Admission) -> Admission | Refusal | None:
        if admission.model == "fake-n5-b":
            return Refusal("no_such_luck", "This model is not for you.", "Pick another one.", status=402)
        self.asked.append(admission)
        return msgspec.structs.replace(admission, labels={"payer": "platform"}, max_output=77)

    @hookimpl()
    async def handle_event(self, delivery: Delivery) -> None:
        self.events.append(delivery)


async def test_admission_refuses_labels_and_hears_of_each_call_once(place: Place, fake_upstream: FakeUpstream) -> None:
    watching = Watching()
    house = await open_house(place, fake_upstream, plugins=[("watching", watching)])
    try:
        person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
        chat = await person.start()
        with pytest.raises(Refused) as refused:
            await person.ask(chat, "go", model="fake-n5-b")
        assert (refused.value.code, refused.value.status) == ("no_such_luck", 402)
        assert await person.path(chat) == []
        first = await person.ask(chat, "go on about oaks " * 20)
        assert fake_upstream.chats()[-1].json["max_tokens"] == 77
        ended = lambda: [d.event for d in watching.events if isinstance(d.event, CallEnded)]  # noqa: E731
        await until(lambda: len(ended()) == 2)
        assert [event.state for event in ended()] == ["failed", "done"]
        assert ended()[1].labels == {"payer": "platform"}
        assert len({delivery.seq for delivery in watching.events}) == len(watching.events)
        await person.ask(chat, "more", parent=first.reply_id)
        assert watching.asked[1].input_tokens > watching.asked[0].input_tokens > 60
    finally:
        await close_house(house)


async def test_a_title_is_made_once_and_never_over_a_persons(ann: Person, fake_upstream: FakeUpstream) -> None:
    house = ann.house
    sent = await house.sending.send(ann.actor, None, None, "A question about trees", "fake-n5")
    waiting = house.titles.waiting(sent.conversation_id)
    assert waiting is not None
    await ann.ended(sent.turn_id)
    title = await asyncio.wait_for(waiting, 5)
    found = await house.conversations.get(ann.actor, sent.conversation_id)
    assert (found.title, found.title_source) == (title, "auto")
    named = await ann.start("Mine")
    await ann.ask(named, "A question")
    assert (await house.conversations.get(ann.actor, named)).title == "Mine"
    assert len(fake_upstream.chats()) == 3


async def test_what_does_not_fit_the_window_is_left_out_and_counted(house: House, ann: Person) -> None:
    from chatserver.domain.models import Model

    chat = await ann.start()
    parent = None
    for number in range(6):
        sent = await ann.ask(chat, f"{number} " + "word " * 200, parent=parent)
        parent = sent.reply_id
    house.catalog._listed["fake"] = (Model("fake-n5", context_tokens=1000),)
    house.catalog._served.clear()
    sent = await ann.ask(chat, "last", parent=parent)
    turn = await ann.ended(sent.turn_id)
    assert turn.left_out > 0
    assert turn.left_out % 2 == 0


async def test_shutdown_interrupts_what_runs_and_keeps_the_text(place: Place, fake_upstream: FakeUpstream) -> None:
    house = await open_house(place, fake_upstream)
    person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    chat = await person.start()
    sent = await house.sending.send(person.actor, chat, None, "go", "fake-n200-gap10")
    live = house.live.get(sent.turn_id or "")
    assert live is not None
    await until(lambda: live.last_seq > 5)
    await house.runner.interrupt_all()
    turn = await house.readers.turn(person.actor, sent.turn_id or "")
    assert turn.state == "interrupted"
    await close_house(house)


class Reading:
    """A plugin that takes a field of a send into the prompt."""

    @hookimpl()
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        if "reading" not in prompt.fields:
            return None
        said = msgspec.json.decode(prompt.fields["reading"], type=str)
        extra = PromptMessage("system", (TextPart(said),))
        return msgspec.structs.replace(prompt, messages=(extra, *prompt.messages))


async def test_a_field_named_after_a_plugin_reaches_it_and_others_are_refused(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    house = await open_house(place, fake_upstream, plugins=[("reading", Reading())])
    try:
        person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
        chat = await person.start()
        fields = {"reading": msgspec.Raw(b'"Be brief."')}
        sent = await house.sending.send(person.actor, chat, None, "go", "fake-n5", fields=fields)
        await person.ended(sent.turn_id)
        assert fake_upstream.chats()[-1].json["messages"][0] == {"role": "system", "content": "Be brief."}
        for name in ("openai", "nobody"):
            with pytest.raises(BadInput) as refused:
                await house.sending.send(person.actor, chat, None, "go", fields={name: msgspec.Raw(b"1")})
            assert (refused.value.code, refused.value.status) == ("unknown_field", 422)
    finally:
        await close_house(house)


async def test_who_comes_late_is_given_it_in_pieces(ann: Person) -> None:
    """Whoever takes nothing holds on to one piece, however much has been said."""
    sent = await ann.ask(await ann.start(), "go")
    for word, most in (("t ", 256), ("long " * 2_000, 6), ("endless " * 20_000, 1)):
        live = LiveTurn(await ann.house.readers.turn(ann.actor, sent.turn_id or ""))
        for _ in range(1_000):
            live.publish(TextDelta(word))
        live.abandon()
        batches = [batch async for batch in live.follow(3)]
        assert max(len(batch) for batch in batches) == most
        assert [number for batch in batches for number, _ in batch] == list(range(4, 1_001))
