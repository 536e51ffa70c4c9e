"""Random lives of turns, held step by step against plain values: two nodes, a provider that speaks when it is told to,
leases that run out, Stops that come twice, readers that come back. One state, one event, nothing said twice."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from chatserver import Channel, Finish, Model, ProviderDelta, UpstreamError, Usage, UsageReport, hookimpl
from chatserver.chat.doctor import examine
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.messages import reasoning_of, text_of
from chatserver.domain.turns import (
    FOREIGN_END_OFFSET,
    EndDelta,
    ReasoningDelta,
    ResetDelta,
    TextDelta,
    Turn,
    TurnState,
)
from chatserver.house import House
from chatserver.store import turns as turn_rows
from chatserver.testing.postgres import PostgresServer
from chatserver.testing.upstream import FakeUpstream
from tests.chat.conftest import Person, Place, close_house, open_house, until
from tests.engines import schema_template

T = TypeVar("T")
MODEL = "told"
Order = ProviderDelta | UpstreamError | None
"""None: say no more, and that this was all."""


class Told:
    """A provider that says what it is told, when it is told; the question names the listener."""

    name = "told"

    def __init__(self) -> None:
        self.orders: dict[str, asyncio.Queue[Order]] = {}

    async def discover(self, http: object) -> list[Channel]:
        return [Channel("told", "told")]

    async def list_models(self, channel: Channel, http: object) -> list[Model]:
        return [Model(id=MODEL, name="Told")]

    async def chat(self, request: Any, channel: Channel, http: object) -> AsyncIterator[ProviderDelta]:
        orders = self.orders[request.messages[-1].parts[0].text] = asyncio.Queue()
        while (order := await orders.get()) is not None:
            if isinstance(order, UpstreamError):
                raise order
            yield order
        yield UsageReport(Usage(input=7, output=9))
        yield Finish("stop")

    @hookimpl
    def register_providers(self) -> list[Any]:
        return [self]


class Expected(msgspec.Struct):
    """What is to be found of a turn. is_lost: another node ended it; is_here: its task still runs on its own node;
    is_purged: its events were swept away."""

    question: str
    turn_id: str
    reply_id: str
    said: list[tuple[str, str]] = []
    stored: int = 0
    state: TurnState = "running"
    is_here: bool = True
    is_lost: bool = False
    is_purged: bool = False

    def words(self, kind: str, count: int | None = None) -> str:
        return "".join(text for one, text in self.said[:count] if one == kind)

    @property
    def kept(self) -> int:
        """How many deltas are in the reply for good."""
        return self.stored if self.is_lost else len(self.said)

    @property
    def last_seq(self) -> int:
        return self.stored + FOREIGN_END_OFFSET + 1 if self.is_lost else len(self.said) + 1


class TurnLife(RuleBasedStateMachine):
    """Rules are what people, the upstream, the clock and the other node do; nothing happens in between."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.upstream_context = FakeUpstream.in_thread()
        upstream = self.upstream_context.__enter__()
        self.told = Told()
        place = self.new_place()
        plugins: list[tuple[str, object]] = [("told", self.told)]
        self.house = self.run(open_house(place, upstream, plugins=plugins))
        self.other = self.run(open_house(place, upstream, plugins=plugins))
        for house in (self.house, self.other):  # they act when a rule says so
            self.run(house.flusher.stop())
            self.run(house.recovery.stop())
        account = self.run(self.house.accounts.create("ann@example.org"))
        self.ann = Person(self.house, Actor(account, "web"))
        self.chat = self.run(self.ann.start())
        self.turns: list[Expected] = []
        self.count = 0

    def new_place(self) -> Place:
        return Path(self.folder.name) / "life.db"

    def teardown(self) -> None:
        for turn in self.here():
            self.end(turn, None)
        self.nothing_is_doubled_or_torn()
        assert self.run(examine(self.house.db)) == []
        for house in (self.house, self.other):
            self.run(close_house(house))
        self.run(asyncio.sleep(0.02))  # transports say goodbye on the loop's next turns
        self.upstream_context.__exit__(None, None, None)
        self.loop.close()
        self.folder.cleanup()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    # --- the model ---

    def here(self) -> list[Expected]:
        """Those whose task runs, be they still theirs or not."""
        return [turn for turn in self.turns if turn.is_here]

    def ended(self) -> list[Expected]:
        return [turn for turn in self.turns if turn.state != "running"]

    def order(self, turn: Expected, order: Order) -> None:
        self.told.orders[turn.question].put_nowait(order)

    def gone(self, turn: Expected) -> None:
        """Its task has ended."""
        self.run(until(lambda: self.house.live.get(turn.turn_id) is None, 20))
        turn.is_here = False

    def end(self, turn: Expected, order: Order) -> None:
        self.order(turn, order)
        self.gone(turn)
        if not turn.is_lost:
            cut: TurnState = "interrupted" if turn.said else "failed"
            turn.state = "done" if order is None else cut

    # --- what happens ---

    @precondition(lambda self: len(self.here()) < 4)
    @rule()
    def ask(self) -> None:
        self.count += 1
        question = f"question {self.count}"
        sent = self.run(self.house.sending.send(self.ann.actor, self.chat, None, question, MODEL))
        assert sent.turn_id is not None
        self.run(until(lambda: question in self.told.orders, 20))
        self.turns.append(Expected(question, sent.turn_id, sent.reply_id))

    @precondition(lambda self: self.here())
    @rule(number=st.integers(0, 9), thinks=st.booleans())
    def say(self, number: int, thinks: bool) -> None:
        turn = self.here()[number % len(self.here())]
        self.count += 1
        word = f"w{self.count} "
        turn.said.append(("reasoning" if thinks else "text", word))
        self.order(turn, ReasoningDelta(word) if thinks else TextDelta(word))
        live = self.house.live.get(turn.turn_id)
        assert live is not None
        self.run(until(lambda: live.last_seq == len(turn.said), 20))

    @rule()
    def flush(self) -> None:
        """What is new is stored; a turn somebody else holds by now learns of it, if it has anything to store."""
        self.run(self.house.flusher.flush())
        for turn in self.here():
            if turn.is_lost and turn.stored < len(turn.said):
                self.gone(turn)
            elif not turn.is_lost:
                turn.stored = len(turn.said)

    @precondition(lambda self: self.here())
    @rule(number=st.integers(0, 9), times=st.integers(1, 3))
    def stop(self, number: int, times: int) -> None:
        """Once, or several times at once."""
        turn = self.here()[number % len(self.here())]

        async def stop_all() -> None:
            asked = (self.house.conversations.stop(self.ann.actor, turn.turn_id) for _ in range(times))
            await asyncio.gather(*asked)

        self.run(stop_all())
        if not turn.is_lost:  # else it is over already, and nothing is asked of anybody
            self.gone(turn)
            turn.state = "stopped"

    @precondition(lambda self: self.ended())
    @rule(number=st.integers(0, 9))
    def stop_what_is_over(self, number: int) -> None:
        turn = self.ended()[number % len(self.ended())]
        self.run(self.house.conversations.stop(self.ann.actor, turn.turn_id))

    @precondition(lambda self: self.here())
    @rule(number=st.integers(0, 9), is_cut=st.booleans())
    def come_to_an_end(self, number: int, is_cut: bool) -> None:
        turn = self.here()[number % len(self.here())]
        self.end(turn, UpstreamError("It fell over.", kind="bad_request", retryable=False) if is_cut else None)

    @precondition(lambda self: any(not turn.is_lost for turn in self.here()))
    @rule(number=st.integers(0, 9))
    def lose_the_lease(self, number: int) -> None:
        """Its node was frozen, or out of reach: the other one finds the lease over and ends the turn."""
        held = [turn for turn in self.here() if not turn.is_lost]
        turn = held[number % len(held)]
        sql = "UPDATE turns SET lease_until = 0 WHERE id = :id"
        self.run(self.house.db.write(lambda tx: tx.run(sql, id=turn.turn_id)))
        assert self.run(self.house.recovery.sweep()) == 0, "a node does not take its own turns from itself"
        assert self.run(self.other.recovery.sweep()) == 1
        turn.is_lost, turn.state = True, "interrupted"

    @rule()
    def sweep_where_nothing_is_over(self) -> None:
        assert self.run(self.other.recovery.sweep()) == 0

    @precondition(lambda self: self.ended())
    @rule()
    def forget_the_events(self) -> None:
        """Ten minutes have passed."""
        self.run(self.house.db.write(lambda tx: turn_rows.purge_events(tx, now_us() + 1)))
        for turn in self.ended():
            turn.is_purged = True

    # --- readers ---

    @precondition(lambda self: any(turn.state != "running" and not turn.is_here for turn in self.turns))
    @rule(number=st.integers(0, 9), seen=st.integers(0, 30), elsewhere=st.booleans())
    def come_back_to_what_is_over(self, number: int, seen: int, elsewhere: bool) -> None:
        """A reader who saw the first so many deltas, on whichever node, is told the rest, or all anew."""
        over = [turn for turn in self.turns if turn.state != "running" and not turn.is_here]
        turn = over[number % len(over)]
        seen = min(seen, len(turn.said))
        text, reasoning = turn.words("text", seen), turn.words("reasoning", seen)
        house = self.other if elsewhere else self.house
        numbers, deltas = self.run(self.read(house, turn, seen))
        assert numbers == sorted(set(numbers)) and numbers[0] > seen
        assert [type(delta) for delta in deltas].count(EndDelta) == 1
        for delta in deltas:
            if isinstance(delta, TextDelta):
                text += delta.text
            elif isinstance(delta, ReasoningDelta):
                reasoning += delta.text
            elif isinstance(delta, ResetDelta):
                text, reasoning = delta.text, delta.reasoning
        end = deltas[-1]
        assert isinstance(end, EndDelta) and end.state == turn.state
        assert (text, reasoning) == (turn.words("text", turn.kept), turn.words("reasoning", turn.kept))
        if not turn.is_purged:
            assert numbers[-1] == turn.last_seq
            assert any(isinstance(delta, ResetDelta) for delta in deltas) == turn.is_lost

    async def read(self, house: House, turn: Expected, after: int) -> tuple[list[int], list[object]]:
        numbers, deltas = [], []
        found = await house.readers.turn(self.ann.actor, turn.turn_id)
        async with asyncio.timeout(20):
            async for batch in house.readers.follow(self.ann.actor, found, after):
                numbers += [number for number, _ in batch]
                deltas += [delta for _, delta in batch]
        return numbers, deltas

    @precondition(lambda self: any(turn.said for turn in self.here()))
    @rule(number=st.integers(0, 9), seen=st.integers(0, 30))
    def come_to_what_runs(self, number: int, seen: int) -> None:
        speaking = [turn for turn in self.here() if turn.said]
        turn = speaking[number % len(speaking)]
        seen = min(seen, len(turn.said) - 1)

        async def first_batch() -> list[tuple[int, Any]]:
            live = self.house.live.get(turn.turn_id)
            assert live is not None
            async for batch in live.follow(seen):
                return batch
            raise AssertionError("a turn that runs has more to say")

        batch = self.run(first_batch())
        assert [number for number, _ in batch] == list(range(seen + 1, len(turn.said) + 1))
        assert [delta.text for _, delta in batch] == [text for _, text in turn.said[seen:]]

    # --- what must hold after each step ---

    @invariant()
    def nothing_is_doubled_or_torn(self) -> None:
        if not hasattr(self, "turns"):
            return
        told = self.run(self.house.db.read(lambda tx: tx.all(str, "SELECT payload FROM outbox ORDER BY seq")))
        events = [msgspec.json.decode(payload) for payload in told]
        ends = [(event["turn_id"], event["state"]) for event in events if event["name"] == "turn.ended"]
        calls = [event["state"] for event in events if event["name"] == "call.ended"]
        assert sorted(ends) == sorted((turn.turn_id, turn.state) for turn in self.ended())
        assert len(calls) == len(ends)
        replies = {m.id: m for m in self.run(self.house.conversations.tree(self.ann.actor, self.chat))}
        for turn in self.turns:
            found: Turn = self.run(self.house.readers.turn(self.ann.actor, turn.turn_id))
            reply = replies[turn.reply_id]
            assert (found.state, reply.state) == (turn.state, turn.state)
            if turn.state == "running":
                assert (found.last_seq, reply.parts) == (turn.stored, ())
            else:
                assert found.last_seq == turn.last_seq
                assert text_of(reply.parts) == turn.words("text", turn.kept)
                assert reasoning_of(reply.parts) == turn.words("reasoning", turn.kept)
                assert (found.usage.estimated, found.usage.output) == (False, 9) or turn.state != "done"


TestTurnLife = TurnLife.TestCase
TestTurnLife.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to make a life shorter takes longer than a test may
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_random_turns_on_postgres(postgres_server: PostgresServer) -> None:
    template = asyncio.run(schema_template(postgres_server))

    class PostgresLife(TurnLife):
        def new_place(self) -> Place:
            return postgres_server.url(postgres_server.create(template))

    run_state_machine_as_test(PostgresLife, settings=settings(TestTurnLife.settings, max_examples=10))
