"""What one thinks of a reply: said, changed, taken back, counted by whoever listens, and taken along in an export."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chatserver import Delivery, FeedbackGiven, hookimpl
from chatserver.chat.exports import Exports
from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import survey, take_file
from chatserver.chat.tunings import TuningChange
from chatserver.domain.access import Actor
from chatserver.domain.feedback import Feedback
from chatserver.domain.tuning import Parameters, Tuning
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until

HOSTILE = "<img src=x onerror=alert(1)>'; DROP TABLE feedback; -- {{ 7*7 }} \u202e"


class Counter:
    def __init__(self) -> None:
        self.events: list[FeedbackGiven] = []

    @hookimpl
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, FeedbackGiven):
            self.events.append(delivery.event)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
async def eve(place: Place, fake_upstream: FakeUpstream, counter: Counter) -> AsyncIterator[Person]:
    house = await open_house(place, fake_upstream, plugins=[("counter", counter)])
    yield Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    await close_house(house)


async def said_of(person: Person, message_id: str) -> Feedback | None:
    return (await person.house.feedback.read(person.actor, message_id))[1]


async def test_it_is_said_changed_taken_back_and_told(eve: Person, counter: Counter) -> None:
    chat = await eve.start()
    asked = await eve.ask(chat, "hello")
    box, actor, reply = eve.house.feedback, eve.actor, asked.reply_id
    assert await said_of(eve, reply) is None
    first = await box.give(actor, reply, "bad", tags=["too_long", "wrong", "wrong"], reason=HOSTILE + "\r\n")
    assert (first.value, first.tags, first.reason) == ("bad", ("wrong", "too_long"), HOSTILE)
    assert await said_of(eve, reply) == first
    kept = await box.give(actor, reply, "bad")
    assert (kept.tags, kept.reason) == (first.tags, first.reason)
    other = await box.give(actor, reply, "good")
    assert (other.value, other.tags, other.reason) == ("good", (), "")
    view = await eve.house.conversations.view(actor, chat)
    assert [item.verdict for item in view.items] == ["", "good"]
    await box.take_back(actor, reply)
    await box.take_back(actor, reply)
    assert await said_of(eve, reply) is None
    await until(lambda: len(counter.events) == 4)
    assert [(one.before, one.value) for one in counter.events] == [
        ("", "bad"),
        ("bad", "bad"),
        ("bad", "good"),
        ("good", ""),
    ]
    event = counter.events[0]
    assert (event.model, event.turn_id, event.message_id, event.tags) == (
        "fake-n5",
        asked.turn_id,
        reply,
        ("wrong", "too_long"),
    )


async def test_only_whole_replies_of_ones_own_are_judged(ann: Person, bob: Person) -> None:
    chat = await ann.start()
    asked = await ann.ask(chat, "hello")
    box = ann.house.feedback
    for person, message_id in ((bob, asked.reply_id), (ann, "unknown")):
        with pytest.raises(NotFound):
            await box.give(person.actor, message_id, "good")
        with pytest.raises(NotFound):
            await box.take_back(person.actor, message_id)
        with pytest.raises(NotFound):
            await box.read(person.actor, message_id)
    with pytest.raises(BadInput):
        await box.give(ann.actor, asked.question_id or "", "good")
    running = await ann.house.sending.send(ann.actor, chat, asked.reply_id, "more", "fake-hang")
    with pytest.raises(Conflict):
        await box.give(ann.actor, running.reply_id, "good")
    await ann.house.conversations.stop(ann.actor, running.turn_id or "")
    await ann.ended(running.turn_id)
    await box.give(ann.actor, running.reply_id, "bad")


@pytest.mark.parametrize(
    ("value", "tags", "reason"),
    [
        ("great", [], ""),
        ("", [], ""),
        ("good", ["wrong"], ""),
        ("bad", ["<script>"], ""),
        ("bad", [], "x" * 2_001),
        ("bad", [], "a\x00b"),
        ("bad", [], "a\ud800b"),
    ],
)
async def test_what_is_no_feedback_is_refused(ann: Person, value: str, tags: list[str], reason: str) -> None:
    chat = await ann.start()
    asked = await ann.ask(chat, "hello")
    with pytest.raises(BadInput) as refused:
        await ann.house.feedback.give(ann.actor, asked.reply_id, value, tags=tags, reason=reason)
    assert refused.value.status == 422
    assert await said_of(ann, asked.reply_id) is None


async def test_an_export_takes_it_along_with_what_the_chat_was_set_to(ann: Person, bob: Person, tmp_path: Path) -> None:
    house = ann.house
    chat = await ann.start()
    asked = await ann.ask(chat, "hello")
    await house.conversations.update(ann.actor, chat, tuning=TuningChange(HOSTILE, 0.5, 10, "low"))
    said = await house.feedback.give(ann.actor, asked.reply_id, "bad", tags=["wrong"], reason=HOSTILE)
    pieces = [piece async for piece in Exports(house.db, "test").export([ann.actor.account])]
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"".join(pieces).replace(b"ann@", b"bob@"))
    file = ImportFile(path, [])
    survey(file)
    await take_file(house.db, file, {"bob@example.org": bob.actor})
    (line,), _ = await house.conversations.list(bob.actor)
    found = await house.conversations.get(bob.actor, line.id)
    assert found.tuning == Tuning(HOSTILE, Parameters(0.5, 10, "low"))
    _, reply = await bob.path(line.id)
    assert await said_of(bob, reply) == said
    await house.conversations.delete(bob.actor, line.id)


async def test_what_nobody_could_have_said_here_is_made_sound(ann: Person, tmp_path: Path) -> None:
    """A file made by hand."""
    chat = await ann.start()
    await ann.ask(chat, "hello")
    pieces = b"".join([piece async for piece in Exports(ann.house.db, "test").export([ann.actor.account])])
    tuned = b'"tuning":{"system_prompt":"hi","parameters":{"temperature":9.5,"max_output":-4}},"created_at"'
    judged = b'"feedback":{"value":"good","tags":["wrong","clear"],"changed_at":-5},"parts"'
    lines = pieces.replace(chat.encode(), chat[::-1].encode()).split(b"\n")
    lines[2] = lines[2].replace(b'"created_at"', tuned)
    lines[4] = lines[4].replace(b'"parts"', judged)
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"\n".join(lines))
    file = ImportFile(path, [])
    survey(file)
    eve = Actor(await ann.house.accounts.create("eve@example.org"), "job")
    await take_file(ann.house.db, file, {"ann@example.org": eve})
    (line,), _ = await ann.house.conversations.list(eve)
    person = Person(ann.house, eve)
    assert (await ann.house.conversations.get(eve, line.id)).tuning == Tuning("hi")
    said = await said_of(person, (await person.path(line.id))[-1])
    assert said is not None and (said.value, said.tags) == ("good", ("clear",)) and said.changed_at > 0
