"""One question to several models: all of it is kept or nothing, and each answer lives its own life."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from chatserver import Admission, CallEnded, Delivery, Refusal, hookimpl
from chatserver.chat.sending import IdempotencyKey
from chatserver.domain.access import Actor
from chatserver.domain.messages import text_of
from chatserver.errors import BadInput, Conflict, LimitReached, Refused
from chatserver.house import House
from chatserver.store import calls as call_rows
from chatserver.store import turns as turn_rows
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until

THREE = ("fake-n5", "fake-n5-b", "fake-echo")


async def rows_of(house: House, table: str) -> int:
    return await house.db.read(lambda tx: tx.one(int, f"SELECT COUNT(*) FROM {table}") or 0)


async def test_each_model_answers_the_same_question_beside_the_others(ann: Person, fake_upstream: FakeUpstream) -> None:
    before = await ann.ask(await ann.start(), "before")
    chat = before.conversation_id
    sent = await ann.house.sending.send(ann.actor, chat, before.reply_id, "which?", models=THREE)
    assert [one.model for one in sent.replies] == list(THREE)
    assert (sent.reply_id, sent.turn_id) == (sent.replies[0].reply_id, sent.replies[0].turn_id)
    for one in sent.replies:
        assert (await ann.ended(one.turn_id)).state == "done"
    tree = {message.id: message for message in await ann.house.conversations.tree(ann.actor, chat)}
    for one in sent.replies:
        reply = tree[one.reply_id]
        assert (reply.parent_id, reply.model, reply.state) == (sent.question_id, one.model, "done")
        assert text_of(reply.parts)
    assert len(fake_upstream.chats()) == 4
    for asked in fake_upstream.chats()[1:]:
        assert [message["role"] for message in asked.json["messages"]] == ["user", "assistant", "user"]
        assert asked.json["messages"][-1]["content"] == "which?"
    found = await ann.house.conversations.get(ann.actor, chat)
    assert (found.tip_id, found.branches, found.model) == (sent.reply_id, 3, "fake-n5")


async def test_a_new_chat_may_begin_with_several_and_gets_one_title(ann: Person, fake_upstream: FakeUpstream) -> None:
    sent = await ann.house.sending.send(ann.actor, None, None, "Which tree is tallest?", models=THREE)
    waiting = ann.house.titles.waiting(sent.conversation_id)
    assert waiting is not None
    for one in sent.replies:
        await ann.ended(one.turn_id)
    assert await asyncio.wait_for(waiting, 5)
    found = await ann.house.conversations.get(ann.actor, sent.conversation_id)
    assert (found.title_source, found.branches) == ("auto", 3)
    assert len(fake_upstream.chats()) == 4


async def test_one_that_fails_leaves_the_others_alone_and_is_asked_again(ann: Person) -> None:
    chat = await ann.start()
    models = ("fake-err500", "fake-n5", "fake-n20-gap20-cut5")
    sent = await ann.house.sending.send(ann.actor, chat, None, "go", models=models)
    states = [(await ann.ended(one.turn_id)).state for one in sent.replies]
    assert states == ["failed", "done", "interrupted"]
    again = await ann.house.sending.regenerate(ann.actor, sent.replies[0].reply_id, "fake-n5-b")
    assert (await ann.ended(again.turn_id)).state == "done"
    more = await ann.house.sending.ask_several(ann.actor, sent.question_id or "", ("fake-echo", "fake-n5"))
    for one in more.replies:
        await ann.ended(one.turn_id)
    tree = await ann.house.conversations.tree(ann.actor, chat)
    assert len([message for message in tree if message.parent_id == sent.question_id]) == 6
    assert (await ann.house.conversations.get(ann.actor, chat)).branches == 6
    with pytest.raises(BadInput):
        await ann.house.sending.ask_several(ann.actor, sent.reply_id, ("fake-n5",))


async def test_stopping_one_stops_no_other(ann: Person) -> None:
    chat = await ann.start()
    sent = await ann.house.sending.send(ann.actor, chat, None, "go", models=("fake-n200-gap10", "fake-hang", "fake-n5"))
    stopped, hanging, short = sent.replies
    live = ann.house.live.get(stopped.turn_id)
    assert live is not None
    await until(lambda: live.last_seq > 2)
    await ann.house.conversations.stop(ann.actor, stopped.turn_id)
    assert (await ann.ended(stopped.turn_id)).state == "stopped"
    assert (await ann.ended(short.turn_id)).state == "done"
    assert (await ann.house.readers.turn(ann.actor, hanging.turn_id)).state == "running"
    await ann.house.conversations.stop(ann.actor, hanging.turn_id)
    assert (await ann.ended(hanging.turn_id)).state == "stopped"


@pytest.mark.parametrize("wanted", [("fake-n5", "no-such"), ("fake-n5", ""), ("fake-n5",) * 5])
async def test_a_wrong_list_of_models_keeps_nothing(ann: Person, wanted: tuple[str, ...]) -> None:
    chat = await ann.start()
    with pytest.raises(BadInput) as refused:
        await ann.house.sending.send(ann.actor, chat, None, "go", models=wanted)
    assert refused.value.status == 422
    assert await ann.path(chat) == []
    assert [await rows_of(ann.house, table) for table in ("messages", "turns", "calls")] == [0, 0, 0]


async def test_the_same_key_asks_each_model_once(ann: Person, fake_upstream: FakeUpstream) -> None:
    chat = await ann.start()
    key = IdempotencyKey("abc", b"the body")
    answers = await asyncio.gather(
        *(ann.house.sending.send(ann.actor, chat, None, "once", models=THREE, idempotency=key) for _ in range(10))
    )
    assert len({answer.replies for answer in answers}) == 1
    for one in answers[0].replies:
        await ann.ended(one.turn_id)
    assert len(fake_upstream.chats()) == 3
    assert [await rows_of(ann.house, table) for table in ("messages", "turns", "calls")] == [4, 3, 3]


async def test_each_counts_against_the_limit_and_none_is_kept_over_it(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    house = await open_house(place, fake_upstream, limits={"turns_per_account": 4})
    try:
        person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
        chat = await person.start()

        async def attempt() -> str:
            try:
                await house.sending.send(person.actor, chat, None, "go", models=("fake-hang", "fake-hang", "fake-hang"))
            except LimitReached as refused:
                return refused.code
            return "sent"

        assert sorted(await asyncio.gather(*(attempt() for _ in range(4)))) == ["sent"] + ["turns_per_account"] * 3
        assert [await rows_of(house, table) for table in ("messages", "turns", "calls")] == [4, 3, 3]
        await house.sending.send(person.actor, chat, None, "one more", "fake-hang")
        with pytest.raises(LimitReached):
            await house.sending.send(person.actor, chat, None, "too much", "fake-hang")
    finally:
        await close_house(house)


class Doorman:
    """Holds for every call, and lets one model not in."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self.ended: list[CallEnded] = []

    @hookimpl
    async def admit_call(self, admission: Admission) -> Admission | Refusal | None:
        self.held.append(admission.call_id)
        if admission.model == "fake-n5-b":
            return Refusal("no_such_luck", "This model is not for you.", "Pick another one.", status=402)
        return msgspec.structs.replace(admission, labels={"for": admission.model})

    @hookimpl
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, CallEnded):
            self.ended.append(delivery.event)


async def test_one_refused_model_refuses_all_and_every_hold_is_let_go(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    doorman = Doorman()
    house = await open_house(place, fake_upstream, plugins=[("doorman", doorman)])
    try:
        person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
        chat = await person.start()
        with pytest.raises(Refused):
            await house.sending.send(person.actor, chat, None, "go", models=THREE)
        await until(lambda: len(doorman.ended) == 2, 20)
        assert [event.call_id for event in doorman.ended] == doorman.held
        assert {event.state for event in doorman.ended} == {"failed"}
        assert await rows_of(house, "messages") == 0
        assert fake_upstream.chats() == []
        sent = await house.sending.send(person.actor, chat, None, "go", models=("fake-n5", "fake-echo"))
        for one in sent.replies:
            assert (await person.ended(one.turn_id)).labels == {"for": one.model}
    finally:
        await close_house(house)


@pytest.mark.parametrize("breaks", ["insert_turn", "insert_call"])
async def test_a_database_that_fails_at_the_second_turn_keeps_nothing_of_the_first(
    ann: Person, monkeypatch: pytest.MonkeyPatch, fake_upstream: FakeUpstream, breaks: str
) -> None:
    rows = {"insert_turn": turn_rows, "insert_call": call_rows}[breaks]
    real, seen = getattr(rows, breaks), []

    def insert(tx: object, row: object) -> None:
        seen.append(row)
        if len(seen) == 2:
            raise Conflict("The disk went away.", code="gone")
        real(tx, row)

    monkeypatch.setattr(rows, breaks, insert)
    chat = await ann.start()
    with pytest.raises(Conflict):
        await ann.house.sending.send(ann.actor, chat, None, "go", models=THREE)
    assert [await rows_of(ann.house, table) for table in ("messages", "turns", "calls")] == [0, 0, 0]
    assert (await ann.house.conversations.get(ann.actor, chat)).tip_id is None
    await until(lambda: len(ann.house.live) == 0)
    monkeypatch.undo()
    sent = await ann.house.sending.send(ann.actor, chat, None, "go", models=THREE)
    for one in sent.replies:
        assert (await ann.ended(one.turn_id)).state == "done"


@pytest.mark.parametrize("engine", ["sqlite"])  # where no lock tells of a death, leases do: tests/flows/test_nodes.py
async def test_after_a_crash_each_answer_is_interrupted_with_its_own_text(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    house = await open_house(place, fake_upstream)
    person = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    chat = await person.start()
    sent = await house.sending.send(person.actor, chat, None, "go", models=("fake-n200-gap10", "fake-hang", "fake-n5"))
    writing, hanging, short = sent.replies
    await person.ended(short.turn_id)
    live, silent = house.live.get(writing.turn_id), house.live.get(hanging.turn_id)
    assert live is not None and silent is not None
    await until(lambda: live.stored_seq > 10)
    live.is_ending = silent.is_ending = True  # as if the process were gone: nothing of these is written any more
    other = await open_house(place, fake_upstream)
    try:
        again = Person(other, person.actor)
        states = [(await other.readers.turn(person.actor, one.turn_id)).state for one in sent.replies]
        assert states == ["interrupted", "interrupted", "done"]
        tree = {message.id: message for message in await other.conversations.tree(person.actor, chat)}
        texts = [text_of(tree[one.reply_id].parts) for one in sent.replies]
        assert texts[0] and not texts[1] and texts[2]
        more = await other.sending.ask_several(person.actor, sent.question_id or "", ("fake-n5",))
        assert (await again.ended(more.turn_id)).state == "done"
    finally:
        await close_house(other)
        await close_house(house)
