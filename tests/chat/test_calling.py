"""Holds: whoever placed one hears of its call's end, whether that call was made, never made, or left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from chatserver import (
    Admission,
    Candidates,
    Delivery,
    DirectRequest,
    ModelUse,
    PromptMessage,
    Refusal,
    TextPart,
    hookimpl,
)
from chatserver.chat.doctor import examine, repair
from chatserver.domain.access import Actor
from chatserver.domain.events import CallEnded
from chatserver.errors import ChatserverError
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until

ASKED = DirectRequest("chat", "fake-n5", (PromptMessage("user", (TextPart("Hello there"),)),))


class Holder:
    """Holds for every call, narrows it, and ranks for as long as it is well."""

    def __init__(self) -> None:
        self.held: list[Admission] = []
        self.ended: list[CallEnded] = []
        self.ranks = True

    @hookimpl
    async def admit_call(self, admission: Admission) -> Admission | Refusal | None:
        self.held.append(admission)
        return msgspec.structs.replace(admission, labels={"held": "yes"}, max_output=2)

    @hookimpl
    async def rank_channels(self, candidates: Candidates, use: ModelUse) -> Candidates | None:
        if not self.ranks:
            raise RuntimeError("there is no order in anything")
        return None

    @hookimpl
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, CallEnded):
            self.ended.append(delivery.event)


@pytest.fixture
async def holder(place: Place, fake_upstream: FakeUpstream) -> AsyncIterator[tuple[Holder, Person]]:
    holder = Holder()
    house = await open_house(place, fake_upstream, plugins=[("holder", holder)])
    yield holder, Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    await close_house(house)


async def test_a_question_that_was_let_in_is_answered_before_the_end(place: Place, fake_upstream: FakeUpstream) -> None:
    """It is no turn yet while a plugin looks at it; a polite end waits for it all the same."""

    class Slow:
        let_go = asyncio.Event()
        asked = asyncio.Event()

        @hookimpl
        async def admit_call(self, admission: Admission) -> None:
            self.asked.set()
            await self.let_go.wait()

    slow = Slow()
    house = await open_house(place, fake_upstream, plugins=[("slow", slow)])
    eve = Person(house, Actor(await house.accounts.create("eve@example.org"), "web"))
    asking = asyncio.ensure_future(house.sending.send(eve.actor, None, None, "Hello", "fake-n5"))
    await slow.asked.wait()
    house.drain()
    assert (len(house.live), house.unfinished) == (0, 1)
    with pytest.raises(ChatserverError, match="about to restart"):
        await house.sending.send(eve.actor, None, None, "Too late", "fake-n5")
    assert house.unfinished == 1
    slow.let_go.set()
    await asking
    await until(lambda: house.unfinished == 0, 20)
    assert (await eve.ended((await asking).turn_id)).state == "done"
    await close_house(house)


async def test_a_call_that_is_never_made_lets_its_hold_go(holder: tuple[Holder, Person]) -> None:
    holds, eve = holder
    holds.ranks = False
    with pytest.raises((ChatserverError, RuntimeError)):
        await eve.house.directs.open(eve.actor, ASKED)
    await until(lambda: len(holds.ended) == 1, 20)
    ended = holds.ended[0]
    assert (ended.call_id, ended.state, ended.labels) == (holds.held[0].call_id, "failed", {"held": "yes"})
    assert ended.usage.calls == 0


async def test_what_admission_narrows_is_narrow_on_every_road(
    holder: tuple[Holder, Person], fake_upstream: FakeUpstream
) -> None:
    holds, eve = holder
    async with await eve.house.directs.open(eve.actor, ASKED) as call:
        async for _ in call.deltas():
            pass
    await eve.ask(None, "one")
    await eve.house.asides.ask(eve.actor.account, "title", "fake-n5", ASKED.messages, max_output=40)
    # The chat's own title is the fourth.
    await until(lambda: len(holds.ended) == 4, 20)
    assert {chat.json["max_tokens"] for chat in fake_upstream.chats()} == {2}
    assert all(event.labels == {"held": "yes"} for event in holds.ended)
    assert {event.call_id for event in holds.ended} == {admission.call_id for admission in holds.held}


async def test_the_doctor_tells_of_the_calls_it_ends(holder: tuple[Holder, Person]) -> None:
    holds, eve = holder
    sent = await eve.ask(await eve.start(), "one")  # a chat with a title, which costs no call
    await until(lambda: len(holds.ended) == 1, 20)

    def harm(tx: Any) -> None:
        tx.run("UPDATE calls SET state = 'running'")
        tx.run("DELETE FROM outbox WHERE name = 'call.ended'")

    await eve.house.db.write(harm)
    await repair(eve.house.db)
    eve.house.pump.wake()
    await until(lambda: len(holds.ended) == 2, 20)
    assert holds.ended[1].call_id == holds.ended[0].call_id
    assert (holds.ended[1].state, holds.ended[1].turn_id) == ("failed", sent.turn_id)
    assert [f.kind for f in await examine(eve.house.db)] == []
