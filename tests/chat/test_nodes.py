"""Two nodes on one PostgreSQL: any serves any reader, a Stop reaches the owner, what is asked twice is done once."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from chatserver import Bus, CallEnded, Delivery, JobSpec, Tool, ToolOutcome, ToolSpec, ToolUse, Wake, hookimpl
from chatserver.chat.doctor import examine
from chatserver.chat.recovery import LEFT_S
from chatserver.chat.sending import IdempotencyKey
from chatserver.chat.wakes import MemoryBus
from chatserver.clock import monotonic_s
from chatserver.domain.access import Actor
from chatserver.domain.messages import text_of
from chatserver.domain.turns import ToolCallDelta, ToolResultDelta
from chatserver.errors import ChatserverError, Conflict, NotFound
from chatserver.store import turns as turn_rows
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream, ToolAsk
from tests.chat.conftest import Person, Place, close_house, open_house, until
from tests.engines import schema_template

LONG = "fake-n200-gap10"
HOUR_US = 3_600_000_000


@pytest.fixture
def engine() -> str:
    return "postgres"


class DeafBus:
    """Loses everything."""

    def send(self, wakes: Sequence[Wake]) -> None:
        pass

    def listen(self, hear: object) -> None:
        pass

    async def close(self) -> None:
        pass


async def open_bus(kind: str, place: Place, shared: MemoryBus) -> Bus | None:
    if kind == "notify":
        from chatserver_postgres import open_bus

        return await open_bus(str(place), {})
    return {"memory": shared, "deaf": DeafBus(), "none": None}[kind]


@contextlib.asynccontextmanager
async def two_nodes(
    place: Place, upstream: FakeUpstream, kind: str = "notify", **more: object
) -> AsyncIterator[list[Person]]:
    """The same person on two nodes."""
    shared = MemoryBus()
    buses = [await open_bus(kind, place, shared) for _ in range(2)]
    houses = [await open_house(place, upstream, bus=bus, **more) for bus in buses]  # type: ignore[arg-type]
    account = await houses[0].accounts.create("ann@example.org")
    try:
        yield [Person(house, Actor(account, "web")) for house in houses]
    finally:
        for house in houses:
            await close_house(house)
        for bus in buses:
            if bus is not None:
                await bus.close()


@pytest.mark.parametrize(("kind", "usual_s"), [("notify", 0.5), ("memory", 0.5), ("deaf", 3), ("none", 2)])
async def test_a_reader_on_another_node_follows(
    place: Place, fake_upstream: FakeUpstream, kind: str, usual_s: float
) -> None:
    async with two_nodes(place, fake_upstream, kind) as (here, there):
        chat = await here.start()
        sent = await here.house.sending.send(here.actor, chat, None, "go", LONG)
        live = here.house.live.get(sent.turn_id or "")
        assert live is not None
        stored: list[tuple[float, int]] = []
        told = here.house.wakes.stored

        def note(wakes: object) -> None:
            listed = list(wakes)  # type: ignore[call-overload]
            stored.extend((monotonic_s(), seq) for _, seq in listed)
            told(listed)

        here.house.wakes.stored = note  # type: ignore[method-assign]
        turn = await there.house.readers.turn(there.actor, sent.turn_id or "")
        numbers: list[int] = []
        seen: list[tuple[float, int]] = []
        async for batch in there.house.readers.follow(there.actor, turn, 0):
            numbers += [number for number, _ in batch]
            seen.append((monotonic_s(), numbers[-1]))
        assert numbers == list(range(1, len(numbers) + 1))
        assert len(numbers) == live.last_seq
        lags = [min(at for at, last in seen if last >= seq) - when for when, seq in stored]
        print(f"{kind}: lag median {sorted(lags)[len(lags) // 2] * 1000:.1f} ms, most {max(lags) * 1000:.1f} ms")
        assert sorted(lags)[len(lags) // 2] < usual_s
        assert max(lags) < 10


class Pen:
    """A tool that asks first."""

    spec = ToolSpec("write", "Writes.", {"type": "object"})
    needs_consent = True

    async def call(self, arguments: dict[str, object], use: ToolUse) -> ToolOutcome:
        return ToolOutcome("written")


class Desk:
    @hookimpl
    def register_tools(self) -> list[Tool]:
        return [Pen()]


@pytest.mark.parametrize("kind", ["notify", "none"])
async def test_a_tool_is_allowed_through_another_node(place: Place, fake_upstream: FakeUpstream, kind: str) -> None:
    fake_upstream.tool_rounds["fake-n5"] = [[ToolAsk("write")]]
    async with two_nodes(place, fake_upstream, kind, plugins=[("desk", Desk())]) as (here, there):
        sent = await here.house.sending.send(here.actor, await here.start(), None, "go", "fake-n5")
        turn = await there.house.readers.turn(there.actor, sent.turn_id or "")
        async for batch in there.house.readers.follow(there.actor, turn, 0):
            for _, delta in batch:
                if isinstance(delta, ToolCallDelta):
                    assert delta.asks
                    said = await there.house.consents.answer(
                        there.actor, there.house.readers, turn.id, delta.call_id, "once"
                    )
                    assert said == "once"
                elif isinstance(delta, ToolResultDelta):
                    assert delta.text == "written"
        assert (await there.ended(turn.id)).state == "done"


def _nobody_is_answered(upstream: FakeUpstream) -> bool:
    return all(one.closed_ns for one in upstream.connections if one.model)


@pytest.mark.parametrize("kind", ["notify", "deaf", "none"])
async def test_a_stop_from_another_node_reaches_the_owner_within_a_second(
    place: Place, fake_upstream: FakeUpstream, kind: str
) -> None:
    async with two_nodes(place, fake_upstream, kind) as (here, there):
        chat = await here.start()
        sent = await here.house.sending.send(here.actor, chat, None, "go", "fake-n2000-gap1")
        live = here.house.live.get(sent.turn_id or "")
        assert live is not None
        await until(lambda: live.stored_seq > 5)
        began = monotonic_s()
        await there.house.conversations.stop(there.actor, sent.turn_id or "")
        await asyncio.to_thread(fake_upstream.wait, _nobody_is_answered, 10.0)
        took_s = monotonic_s() - began
        print(f"{kind}: stopped after {took_s * 1000:.0f} ms")
        turn = await there.ended(sent.turn_id)
        assert turn.state == "stopped"
        assert text_of((await there.house.conversations.path(there.actor, chat))[-1].parts)


async def test_a_zombie_is_refused_and_its_readers_are_told(place: Place, fake_upstream: FakeUpstream) -> None:
    async with two_nodes(place, fake_upstream) as (here, there):
        chat = await here.start()
        sent = await here.house.sending.send(here.actor, chat, None, "go", LONG)
        live = here.house.live.get(sent.turn_id or "")
        assert live is not None
        await until(lambda: live.stored_seq > 5)

        def expire(tx: turn_rows.Tx) -> None:
            tx.run("UPDATE turns SET lease_until = 0 WHERE id = :id", id=live.turn.id)

        await there.house.db.write(expire)
        turn = await there.house.readers.turn(there.actor, live.turn.id)
        assert turn.state == "interrupted"
        assert turn.lease_epoch == live.turn.lease_epoch + 1
        await until(lambda: here.house.live.get(live.turn.id) is None)
        after = await there.house.readers.turn(there.actor, live.turn.id)
        assert (after.state, after.last_seq) == (turn.state, turn.last_seq)
        assert live.last_seq > 0
        text, _, end = await here.read(live.turn.id, live.last_seq)
        message = (await there.house.conversations.path(there.actor, chat))[-1]
        assert text == text_of(message.parts)
        assert end is not None
        assert end.state == "interrupted"
        assert await examine(there.house.db) == []


async def test_who_took_a_turn_over_is_alone_with_it_while_it_still_runs(
    place: Place, fake_upstream: FakeUpstream
) -> None:
    """Its former holder keeps no further word, and ends it no more."""
    async with two_nodes(place, fake_upstream) as (here, there):
        sent = await here.house.sending.send(here.actor, await here.start(), None, "go", LONG)
        live = here.house.live.get(sent.turn_id or "")
        assert live is not None
        await until(lambda: live.stored_seq > 5)
        await here.house.recovery.stop()
        await there.house.recovery.stop()
        id = live.turn.id

        def take(tx: turn_rows.Tx) -> turn_rows.Turn | None:
            (turn,) = turn_rows.running_turns(tx, [id])
            return turn_rows.take_over(tx, turn)

        taken = None
        while taken is None:  # the lease may be renewed between the look and the taking
            taken = await there.house.db.write(take)
        await until(lambda: here.house.live.get(id) is None)
        (after,) = await there.house.db.read(lambda tx: turn_rows.running_turns(tx, [id]))
        assert (after.state, after.last_seq) == ("running", taken.last_seq)
        newest = "SELECT MAX(last_seq) FROM turn_events WHERE turn_id = :id"
        assert await there.house.db.read(lambda tx: tx.one(int, newest, id=id)) == taken.last_seq
        await there.house.db.write(lambda tx: turn_rows.renew_leases(tx, [id], taken.lease_owner, 0))


async def test_what_a_clock_says_ends_no_turn_and_keeps_none(
    place: Place, fake_upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node's clock is an hour behind, then an hour ahead, and then it is dead."""
    passed_s = 0.0
    monkeypatch.setattr("chatserver.chat.recovery.monotonic_s", lambda: monotonic_s() + passed_s)
    async with two_nodes(place, fake_upstream) as (here, there):
        sent = await here.house.sending.send(here.actor, await here.start(), None, "go", LONG)
        live = here.house.live.get(sent.turn_id or "")
        assert live is not None
        await until(lambda: live.stored_seq > 5)

        async def move_lease(by_us: int) -> None:
            sql = "UPDATE turns SET lease_until = lease_until + :by WHERE id = :id"
            await there.house.db.write(lambda tx: tx.run(sql, by=by_us, id=live.turn.id))

        for by_us in (-HOUR_US, 2 * HOUR_US):
            await move_lease(by_us)
            passed_s += LEFT_S + 1.0
            assert (await there.house.readers.turn(there.actor, live.turn.id)).state == "running"
            assert await there.house.recovery.sweep() == 0
        passed_s += LEFT_S + 1.0
        turn = await there.house.readers.turn(there.actor, live.turn.id)
        assert turn.state == "interrupted", "nobody renewed it, though it has an hour yet by somebody's clock"


async def test_the_same_key_on_two_nodes_is_one_message(place: Place, fake_upstream: FakeUpstream) -> None:
    async with two_nodes(place, fake_upstream) as both:
        chat = await both[0].start()
        key = IdempotencyKey("k", b"body")
        asked = [
            person.house.sending.send(person.actor, chat, None, "go", "fake-n5", idempotency=key)
            for _ in range(25)
            for person in both
        ]
        sent = await asyncio.gather(*asked)
        assert len({one.turn_id for one in sent}) == 1
        await both[0].ended(sent[0].turn_id)
        assert len(await both[1].house.conversations.tree(both[1].actor, chat)) == 2
        assert len([one for one in fake_upstream.chats() if one.json["messages"][-1]["content"] == "go"]) == 1


async def test_the_limit_of_turns_holds_over_all_nodes(place: Place, fake_upstream: FakeUpstream) -> None:
    async with two_nodes(place, fake_upstream, limits={"turns_per_account": 4}) as both:
        asked = [
            person.house.sending.send(person.actor, None, None, "go", "fake-n2000-gap1")
            for _ in range(8)
            for person in both
        ]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        refused = [one for one in answers if isinstance(one, ChatserverError)]
        assert len(answers) - len(refused) == 4
        assert {one.code for one in refused} == {"turns_per_account"}


async def test_two_nodes_writing_to_one_tree_break_no_rule(place: Place, fake_upstream: FakeUpstream) -> None:
    """Sends, edits, deletions, restores and switches of the tip at random, on two nodes at once."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    async with two_nodes(place, fake_upstream) as both:
        chat = await both[0].start()
        first = await both[0].ask(chat, "the first")
        deletions: list[str] = []

        async def live_on(person: Person) -> None:
            house, actor = person.house, person.actor
            for _ in range(25):
                tree = [m for m in await house.conversations.tree(actor, chat) if m.state != "running"]
                if not tree:
                    return
                one = chance.choice(tree)
                act = chance.choice(["send", "send", "edit", "regenerate", "delete", "restore", "tip", "clear"])
                with contextlib.suppress(Conflict, NotFound):
                    if act == "send":
                        await house.sending.send(actor, chat, one.id, "more", "fake-n5")
                    elif act == "edit":
                        await house.sending.edit(actor, one.id, "other", "fake-n5")
                    elif act == "regenerate":
                        await house.sending.regenerate(actor, one.id, "fake-n5")
                    elif act == "delete" and one.id != first.question_id:
                        deletions.append((await house.conversations.delete_message(actor, one.id)).id)
                    elif act == "restore" and deletions:
                        await house.conversations.restore(actor, chance.choice(deletions))
                    elif act == "tip":
                        await house.conversations.update(actor, chat, tip=one.id)
                    elif act == "clear":
                        await house.conversations.clear_context(actor, chat, one.id)

        await asyncio.gather(*(live_on(person) for person in both for _ in range(4)))
        await until(lambda: not any(len(person.house.live) for person in both), 20)
        assert await examine(both[0].house.db) == []


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that may be stopped."""
    server = PostgresServer().start()
    yield server
    server.remove()


async def test_a_database_away_for_longer_than_a_lease_ends_no_turn(
    own_server: PostgresServer, fake_upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("drafts.LEASE_US", 2_000_000), ("flusher.LEASE_US", 2_000_000), ("flusher.RENEW_S", 0.5)):
        monkeypatch.setattr(f"chatserver.chat.{name}", value)
    monkeypatch.setattr("chatserver.chat.recovery.SWEEP_S", 0.2)
    monkeypatch.setattr("chatserver.chat.recovery.LEFT_S", 2.0)
    monkeypatch.setattr("chatserver_postgres.crew.PATIENCE_S", 1.0)
    url = own_server.url(own_server.create(await schema_template(own_server)))
    async with two_nodes(url, fake_upstream) as (here, there):
        chat = await here.start()
        sent = await here.house.sending.send(here.actor, chat, None, "go", "fake-n2000-gap1")
        live = here.house.live.get(sent.turn_id or "")
        assert live is not None
        await until(lambda: live.stored_seq > 5)
        await asyncio.to_thread(own_server.stop, "immediate")
        await asyncio.sleep(3.5)
        await asyncio.to_thread(own_server.start)
        turn = await there.ended(sent.turn_id)
        assert turn.state == "done"
        text, _, _ = await there.read(sent.turn_id)
        assert len(text.split()) == 2000


class Counting:
    """Notes every event and every run of its job."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.runs: list[str] = []

    @hookimpl
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, CallEnded):
            self.calls.append(delivery.event.call_id)

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("count", self.run)]

    async def run(self, payload: dict[str, str]) -> None:
        self.runs.append(payload["name"])
        await asyncio.sleep(0)


async def test_events_and_jobs_are_done_once_across_nodes(place: Place, fake_upstream: FakeUpstream) -> None:
    counting = Counting()
    async with two_nodes(place, fake_upstream, plugins=[("counting", counting)]) as both:
        chat = await both[0].start()
        sent = await asyncio.gather(
            *(
                person.house.sending.send(person.actor, chat, None, "go", "fake-n5")
                for _ in range(10)
                for person in both
            )
        )
        for number in range(20):
            await both[number % 2].house.jobs.enqueue("count", {"name": f"{number}"})
        await until(lambda: len(counting.calls) >= len(sent) and len(counting.runs) >= 20, 20)
        for person in both:
            person.house.pump.wake()
            person.house.jobs.wake()
        await until(lambda: not any(len(person.house.live) for person in both))
        assert len(set(counting.calls)) == len(counting.calls) == len(sent)
        assert sorted(counting.runs, key=int) == [f"{number}" for number in range(20)]
