"""A chat's own system prompt and parameters: one function applies them, so every way of asking agrees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chatserver import Admission, hookimpl
from chatserver.chat.prompts import choose
from chatserver.chat.tunings import TuningChange
from chatserver.domain.access import Actor
from chatserver.domain.messages import Message, TextPart
from chatserver.domain.models import Model
from chatserver.domain.tuning import Parameters, Tuning
from chatserver.errors import BadInput
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house

SET = TuningChange("  Answer in verse. <script>alert(1)</script>  ", 0.3, 77, "high")
PROMPT = "Answer in verse. <script>alert(1)</script>"


class Scales:
    """Notes what admission is told."""

    def __init__(self) -> None:
        self.seen: list[Admission] = []

    @hookimpl
    async def admit_call(self, admission: Admission) -> None:
        self.seen.append(admission)


@pytest.fixture
def scales() -> Scales:
    return Scales()


@pytest.fixture
async def eve(place: Place, fake_upstream: FakeUpstream, scales: Scales) -> AsyncIterator[Person]:
    house = await open_house(place, fake_upstream, plugins=[("scales", scales)])
    yield Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    await close_house(house)


def last(upstream: FakeUpstream) -> dict[str, Any]:
    return dict(upstream.chats()[-1].json)


async def test_every_way_of_asking_sends_what_is_set(eve: Person, fake_upstream: FakeUpstream, scales: Scales) -> None:
    house, actor = eve.house, eve.actor
    chat = await eve.start()
    plain = await eve.ask(chat, "before")
    assert last(fake_upstream)["messages"] == [{"role": "user", "content": "before"}]
    changed = await house.conversations.update(actor, chat, tuning=SET)
    assert changed.tuning == Tuning(PROMPT, Parameters(0.3, 77, "high"))
    tokens = scales.seen[-1].input_tokens

    async def sent(turn: Any) -> dict[str, Any]:
        await eve.ended(turn.turn_id)
        return last(fake_upstream)

    ways = [
        await sent(await house.sending.send(actor, chat, plain.reply_id, "go on", "fake-n5")),
        await sent(await house.sending.regenerate(actor, plain.reply_id)),
        await sent(await house.sending.edit(actor, plain.question_id or "", "again", "fake-n5")),
        await sent(await house.sending.send(actor, chat, None, "another root", "fake-n5")),
        await sent(await house.sending.ask_several(actor, plain.question_id or "", ("fake-n5",))),
    ]
    for body in ways:
        assert body["messages"][0] == {"role": "system", "content": PROMPT}
        assert (body["temperature"], body["max_tokens"]) == (0.3, 77)
        assert "reasoning_effort" not in body, "this model does not say that it reasons"
    assert all(one.max_output == 77 for one in scales.seen[1:])
    assert scales.seen[2].input_tokens > tokens, "admission is told of the system prompt"


async def test_only_what_is_given_changes_and_none_takes_it_back(eve: Person, fake_upstream: FakeUpstream) -> None:
    house, actor = eve.house, eve.actor
    chat = (await house.conversations.create(actor, tuning=SET)).id
    found = await house.conversations.update(actor, chat, tuning=TuningChange(temperature=1.0))
    assert found.tuning == Tuning(PROMPT, Parameters(1.0, 77, "high"))
    found = await house.conversations.update(actor, chat, title="Other things stay")
    assert found.tuning.parameters.temperature == 1.0
    found = await house.conversations.update(actor, chat, tuning=TuningChange("", None, None, None))
    assert found.tuning == Tuning()
    await eve.ask(chat, "plain again")
    assert last(fake_upstream)["messages"] == [{"role": "user", "content": "plain again"}]
    assert {"temperature", "max_tokens"}.isdisjoint(last(fake_upstream))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (TuningChange(temperature=2.1), "bad_temperature"),
        (TuningChange(temperature=-0.1), "bad_temperature"),
        (TuningChange(temperature=float("nan")), "bad_temperature"),
        (TuningChange(max_output=0), "bad_max_output"),
        (TuningChange(max_output=10**9), "bad_max_output"),
        (TuningChange(reasoning_effort="enormous"), "bad_reasoning_effort"),
        (TuningChange(system_prompt="x" * 50_001), "system_prompt_too_long"),
        (TuningChange(system_prompt="a\x00b"), "bad_text"),
        (TuningChange(system_prompt="a\ud800b"), "bad_text"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(ann: Person, change: TuningChange, code: str) -> None:
    chat = (await ann.house.conversations.create(ann.actor, "Mine", tuning=TuningChange("Keep me"))).id
    with pytest.raises(BadInput) as refused:
        await ann.house.conversations.update(ann.actor, chat, title="Changed", tuning=change)
    assert (refused.value.code, refused.value.status) == (code, 422)
    found = await ann.house.conversations.get(ann.actor, chat)
    assert (found.title, found.tuning) == ("Mine", Tuning("Keep me"))
    with pytest.raises(BadInput):
        await ann.house.conversations.create(ann.actor, tuning=change)


async def test_a_fork_keeps_what_its_chat_was_set_to(ann: Person) -> None:
    chat = (await ann.house.conversations.create(ann.actor, "Mine", tuning=SET)).id
    sent = await ann.ask(chat, "one")
    fork = await ann.house.branches.fork(ann.actor, sent.reply_id, "path")
    assert fork.tuning == Tuning(PROMPT, Parameters(0.3, 77, "high"))


async def test_a_chat_begins_with_the_models_of_the_account_and_goes_on_with_its_own(ann: Person) -> None:
    house, actor = ann.house, ann.actor
    await house.accounts.set_settings(actor, {"default_model": "fake-n5-b"})
    first = await house.sending.send(actor, None, None, "hello")
    assert first.replies[0].model == "fake-n5-b"
    other = await house.sending.send(actor, first.conversation_id, None, "hello", "fake-echo")
    await ann.ended(first.turn_id)
    await ann.ended(other.turn_id)
    again = await house.sending.send(actor, first.conversation_id, other.reply_id, "hello")
    assert again.replies[0].model == "fake-echo"
    await house.accounts.set_settings(actor, {"default_model": "gone"})
    fresh = await house.sending.send(actor, None, None, "hello")
    assert fresh.replies[0].model == house.models(actor)[0].id


def test_a_system_prompt_takes_its_place_in_the_window() -> None:
    def message(number: int) -> Message:
        role = "assistant" if number % 2 else "user"
        return Message(f"{number:03}", "c", None, role, "done", (TextPart("word " * 40),), "", number)  # type: ignore[arg-type]

    path = [message(number) for number in range(41)]
    model = Model("m", context_tokens=1000)
    plain = choose(path, Tuning(), model, 1.0)
    tuned = choose(path, Tuning("rule " * 300), model, 1.0)
    bounded = choose(path, Tuning("", Parameters(max_output=700)), model, 1.0)
    huge = choose(path, Tuning("rule " * 3000), model, 1.0)
    assert 0 < len(tuned.fitted.messages) < len(plain.fitted.messages)
    assert len(bounded.fitted.messages) < len(plain.fitted.messages)
    assert [one.id for one in huge.fitted.messages] == ["040"], "the last exchange always stays"
    assert tuned.fitted.left_out + len(tuned.fitted.messages) == 41
