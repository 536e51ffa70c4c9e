"""What a sender hands to plugins: checked before anything is kept, and there again when the branch goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from chatserver import Admission, BadInput, Prompt, PromptMessage, Refusal, SendRequest, TextPart, hookimpl
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Sent
from chatserver.errors import Refused
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house


class Mood:
    """Keeps a mood for the rest of a branch, and names a model for one of them."""

    @hookimpl
    def prepare_send(self, request: SendRequest) -> SendRequest | Refusal | None:
        given = request.fields.get("mood", request.above.get("mood"))
        if given is None:
            return None
        mood = msgspec.json.decode(given)
        if not isinstance(mood, str):
            raise BadInput("A mood is a word.", code="bad_mood", status=422)
        if mood == "angry":
            return Refusal("calm_down", "Not like this.", "Breathe.", status=409)
        return msgspec.structs.replace(
            request,
            model=request.model or ("fake-echo" if mood == "quick" else ""),
            fields={**request.fields, "mood": given},
            labels={**request.labels, "mood": mood},
        )

    @hookimpl
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        mood = prompt.labels.get("mood")
        said = (PromptMessage("system", (TextPart(f"Be {mood}."),)), *prompt.messages)
        return msgspec.structs.replace(prompt, messages=said) if mood else None

    @hookimpl
    async def admit_call(self, admission: Admission) -> Admission | None:
        return msgspec.structs.replace(admission, labels={"asked": admission.labels.get("mood", "nothing")})


@pytest.fixture
async def eve(place: Place, fake_upstream: FakeUpstream) -> AsyncIterator[Person]:
    house = await open_house(place, fake_upstream, plugins=[("mood", Mood())])
    yield Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    await close_house(house)


def given(mood: object) -> dict[str, msgspec.Raw]:
    return {"mood": msgspec.Raw(msgspec.json.encode(mood))}


async def labels_of(eve: Person, sent: Sent) -> dict[str, str]:
    return (await eve.ended(sent.turn_id)).labels


async def test_a_field_is_checked_before_anything_is_kept(eve: Person) -> None:
    chat = await eve.start()
    for mood, error in ((7, BadInput), ("angry", Refused)):
        with pytest.raises(error):
            await eve.house.sending.send(eve.actor, chat, None, "go", fields=given(mood))
    assert await eve.path(chat) == []


async def test_a_plugin_names_a_model_only_where_the_sender_named_none(eve: Person) -> None:
    chat = await eve.start()
    sending = eve.house.sending
    free = await sending.send(eve.actor, chat, None, "go", fields=given("quick"))
    named = await sending.send(eve.actor, chat, None, "go", "fake-n5", fields=given("quick"))
    several = await sending.send(eve.actor, chat, None, "go", models=("fake-n5", "fake-n5-b"), fields=given("quick"))
    assert [one.model for sent in (free, named, several) for one in sent.replies] == [
        "fake-echo",
        "fake-n5",
        "fake-n5",
        "fake-n5-b",
    ]
    for one in several.replies:
        assert (await eve.ended(one.turn_id)).labels == {"mood": "quick", "asked": "quick"}


async def test_a_choice_lasts_on_its_branch_and_on_no_other(eve: Person, fake_upstream: FakeUpstream) -> None:
    chat = await eve.start()
    sending = eve.house.sending
    plain = await eve.ask(chat, "first")
    assert await labels_of(eve, plain) == {"asked": "nothing"}
    kind = await sending.send(eve.actor, chat, plain.reply_id, "second", "fake-n5", fields=given("kind"))
    assert await labels_of(eve, kind) == {"mood": "kind", "asked": "kind"}
    below = await eve.ask(chat, "third", parent=kind.reply_id)
    again = await sending.regenerate(eve.actor, below.reply_id)
    edited = await sending.edit(eve.actor, below.question_id or "", "third, better", "fake-n5")
    more = await sending.ask_several(eve.actor, below.question_id or "", ("fake-n5", "fake-echo"))
    rewritten = await sending.edit(eve.actor, kind.reply_id, "As if it had said this")
    after = await eve.ask(chat, "fourth", parent=rewritten.reply_id)
    for sent in (below, again, edited, more, after):
        assert (await labels_of(eve, sent))["mood"] == "kind"
    assert fake_upstream.chats()[-2].json["messages"][0] == {"role": "system", "content": "Be kind."}
    beside = await eve.ask(chat, "another way", parent=plain.reply_id)
    assert await labels_of(eve, beside) == {"asked": "nothing"}
    other = await sending.send(eve.actor, chat, below.reply_id, "fifth", "fake-n5", fields=given("brief"))
    assert (await labels_of(eve, other))["mood"] == "brief"
