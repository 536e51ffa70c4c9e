"""Shares, tiers and breakers, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from chatserver_gateway.breaker import OPEN_S, PROBE_S, TRIP_FAILURES
from chatserver_gateway.quota import PROMISE_S
from chatserver_gateway.ranking import REFUSED_S, Ranker

from chatserver import (
    Account,
    Attempt,
    AttemptEnd,
    AttemptStart,
    Candidate,
    Candidates,
    Channel,
    ChatRequest,
    Finish,
    Model,
    ModelUse,
    TextDelta,
    UpstreamError,
    Usage,
    clock,
)
from chatserver.gateway.patience import Patience
from chatserver.gateway.relay import MAX_ATTEMPTS, Relay

ACCOUNT = Account("ann", "ann@example.org", "", "member", "active", ("default",), 0)
NO_HTTP: Any = None


class Hands:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def channel(name: str, **fields: Any) -> Candidate:
    return Candidate(Channel(name, "scripted", **fields), "m", Model("m"))


class House:
    """Channels that fail as told, asked as the server asks them: ranked, relayed, and told how it went."""

    name = "scripted"

    def __init__(self, *candidates: Candidate) -> None:
        self.candidates: Candidates = candidates
        self.hands = Hands()
        self.ranker = Ranker(self.hands)
        self.faults: dict[str, str] = {}
        self.retry_after_s: float | None = 0.0
        self.asked: Counter[str] = Counter()
        self.patience = Patience()
        self.news: list[str] = []

    async def discover(self, http: Any) -> list[Channel]:
        return []

    async def list_models(self, channel: Channel, http: Any) -> list[Model]:
        return []

    async def chat(self, request: ChatRequest, channel: Channel, http: Any) -> AsyncIterator[Any]:
        self.asked[channel.name] += 1
        await asyncio.sleep(0)
        if kind := self.faults.get(channel.name, ""):
            raise UpstreamError(
                kind, kind=kind, retryable=kind not in ("bad_request", "content"), retry_after_s=self.retry_after_s
            )
        yield TextDelta(channel.name)
        yield Finish("stop")

    def rank(self) -> list[str]:
        use = ModelUse(ACCOUNT, "m", "web", "chat", clock.new_id())
        return [one.channel.name for one in self.ranker.rank(self.candidates, use)]

    async def ask(self) -> tuple[str, Relay]:
        """Who answered, '' for nobody."""
        use = ModelUse(ACCOUNT, "m", "web", "chat", clock.new_id())
        ranked = self.ranker.rank(self.candidates, use)
        watch = Told(self, use.call_id)
        relay = Relay(ChatRequest("m", ()), ranked, {"scripted": self}, NO_HTTP, watch, self.patience)  # type: ignore[dict-item]
        try:
            async with aclosing(relay.deltas()) as deltas:
                return "".join([delta.text async for delta in deltas if isinstance(delta, TextDelta)]), relay
        except UpstreamError:
            return "", relay


class Told:
    def __init__(self, house: House, call_id: str) -> None:
        self.house = house
        self.start = AttemptStart(call_id, "ann", "chat", "web", "m", "", "m", 0, 0)

    async def started(self, candidate: Candidate, number: int, at: int) -> None:
        self.start = AttemptStart(
            self.start.call_id, "ann", "chat", "web", "m", candidate.channel.name, "m", number, at
        )
        self.house.ranker.started(self.start)

    async def ended(
        self, attempt: Attempt, error: UpstreamError | None, first_token_at: int | None, usage: Usage | None
    ) -> None:
        begun = {name: getattr(self.start, name) for name in AttemptStart.__struct_fields__}
        self.house.news += self.house.ranker.ended(
            AttemptEnd(
                **begun,
                outcome=attempt.outcome,
                retryable=error is not None and error.retryable,
                first_token_at=first_token_at,
                ended_at=attempt.ended_at,
                usage=usage,
                retry_after_s=error.retry_after_s if error else None,
            )
        )


@pytest.mark.parametrize(("weights", "share"), [((1, 1), 0.5), ((3, 1), 0.75)])
async def test_a_thousand_requests_are_shared_by_weight(weights: tuple[int, int], share: float) -> None:
    house = House(channel("a", weight=weights[0]), channel("b", weight=weights[1]))
    for _ in range(10):
        answers = await asyncio.gather(*(house.ask() for _ in range(100)))
        assert all(answer for answer, _ in answers)
    assert house.asked.total() == 1_000
    assert abs(house.asked["a"] / 1_000 - share) <= 0.05


async def test_the_third_of_a_tier_serves_while_two_are_dead() -> None:
    house = House(channel("a"), channel("b"), channel("c"), channel("below", priority=-1))
    house.faults = {"a": "connect", "b": "server"}
    house.retry_after_s = None
    for _ in range(100):
        before = dict(house.asked)
        answer, relay = await house.ask()
        assert answer == "c"
        assert all(house.asked[name] - before.get(name, 0) <= 1 for name in "ab")
        assert len(relay.attempts) <= 3
    assert house.asked["a"] == house.asked["b"] == TRIP_FAILURES
    assert house.asked["below"] == 0
    assert house.news == ["opened", "opened"]


async def test_a_tier_is_used_up_before_the_next() -> None:
    house = House(channel("low"), channel("high1", priority=2), channel("high2", priority=2))
    assert set(house.rank()[:2]) == {"high1", "high2"}
    assert house.rank()[2] == "low"


async def test_one_probe_finds_out_and_traffic_returns() -> None:
    house = House(channel("a"), channel("b"))
    house.faults = {"a": "server"}
    house.retry_after_s = None
    for _ in range(20):
        await house.ask()
    house.asked.clear()
    house.hands.now += OPEN_S
    await asyncio.gather(*(house.ask() for _ in range(50)))
    assert house.asked["a"] == 1, "half open: one probe"
    house.hands.now += OPEN_S + 1
    await house.ask()
    assert house.asked["a"] == 1, "and twice as long after it failed"
    house.faults = {}
    house.hands.now += OPEN_S
    await house.ask()
    assert house.asked["a"] == 2
    assert house.news == ["opened", "closed"]
    house.asked.clear()
    for _ in range(10):
        await house.ask()
    assert house.asked["a"] == house.asked["b"] == 5


async def test_a_probe_that_is_never_made_is_given_to_another() -> None:
    house = House(channel("a"), channel("b"))
    house.faults, house.retry_after_s = {"a": "server"}, None
    for _ in range(20):
        await house.ask()
    house.hands.now += OPEN_S
    assert house.rank()[0] == "a"
    assert house.rank()[0] == "b"
    house.hands.now += PROBE_S
    assert house.rank()[0] == "a"


async def test_the_callers_own_faults_never_count() -> None:
    house = House(channel("a"))
    house.faults = {"a": "bad_request"}
    for _ in range(50):
        await house.ask()
    assert house.ranker.standing("a", "m").state == "well"
    assert house.news == []


async def test_the_last_channel_is_never_ejected() -> None:
    house = House(channel("a"))
    house.faults = {"a": "key_refused"}
    await house.ask()
    assert house.ranker.standing("a", "m").state == "key_refused"
    assert house.rank() == ["a"]
    house.faults = {}
    assert (await house.ask())[0] == "a"
    assert house.news == ["key_refused", "key_accepted"]


async def test_a_refused_key_leaves_the_ranking_and_is_tried_again() -> None:
    house = House(channel("a", priority=1, api_key="old"), channel("b"))
    house.faults = {"a": "key_refused"}
    await house.ask()
    assert house.rank() == ["b"]
    house.hands.now += REFUSED_S
    assert house.rank() == ["a", "b"]
    assert house.rank() == ["b"]
    house.candidates = (channel("a", priority=1, api_key="new"), house.candidates[1])
    assert house.rank() == ["a", "b"], "a changed key is tried at once"


async def test_a_refused_pair_leaves_other_models_alone() -> None:
    house = House(channel("a"), channel("b"))
    house.faults = {"a": "pair_refused"}
    await house.ask()
    await house.ask()
    assert house.rank() == ["b"]
    use = ModelUse(ACCOUNT, "other", "web", "chat", clock.new_id())
    assert len(house.ranker.rank(house.candidates, use)) == 2


async def test_who_asked_for_time_is_given_it() -> None:
    house = House(channel("a", priority=1), channel("b"))
    house.faults, house.retry_after_s = {"a": "rate_limit"}, 7.0
    await house.ask()
    assert house.rank() == ["b", "a"]
    house.hands.now += 7
    assert house.rank() == ["a", "b"]
    assert house.ranker.standing("a", "m").failures == 0


async def test_limits_are_kept_unless_nobody_else_is_left() -> None:
    house = House(channel("a", priority=1, requests_per_minute=3), channel("b", concurrency=1))
    answers = [(await house.ask())[0] for _ in range(5)]
    assert answers == ["a", "a", "a", "b", "b"]
    house.hands.now += 60
    assert (await house.ask())[0] == "a"
    house.candidates = house.candidates[:1]
    assert [(await house.ask())[0] for _ in range(5)] == ["a"] * 5


async def test_limits_are_kept_among_those_that_come_at_once() -> None:
    """All of them are ranked before the first is under way."""
    house = House(
        channel("a", priority=1, concurrency=2), channel("b", requests_per_minute=3), channel("c", priority=-1)
    )
    firsts = [house.rank()[0] for _ in range(6)]
    assert Counter(firsts) == {"a": 2, "b": 3, "c": 1}
    house.hands.now += PROMISE_S
    assert house.rank()[0] == "a", "what was never begun keeps no place"
    house.hands.now += PROMISE_S
    answers = [answer for answer, _ in await asyncio.gather(*(house.ask() for _ in range(6)))]
    assert Counter(answers) == {"a": 2, "b": 3, "c": 1}
    house.faults = {"a": "server"}
    assert (await house.ask())[0] == "c", "b has had its three of this minute"
    assert house.rank()[0] == "a", "a place is given back by whoever begins elsewhere, or is done"


async def test_tokens_of_a_minute_are_limited() -> None:
    house = House(channel("a", priority=1, tokens_per_minute=100), channel("b"))
    start = AttemptStart("x", "ann", "chat", "web", "m", "a", "m", 1, 0)
    begun = {name: getattr(start, name) for name in AttemptStart.__struct_fields__}
    house.ranker.ended(
        AttemptEnd(
            **begun, outcome="done", retryable=False, first_token_at=1, ended_at=2, usage=Usage(input=60, output=40)
        )
    )
    assert house.rank() == ["b", "a"]
    house.hands.now += 60
    assert house.rank() == ["a", "b"]


async def test_nobody_sees_a_failure_while_channels_fail_one_at_a_time() -> None:
    chance = random.Random(5)
    house = House(*(channel(name, priority=priority) for name, priority in (("a", 1), ("b", 1), ("c", 1), ("d", 0))))
    attempts = 0
    for _ in range(100):
        house.retry_after_s = chance.choice([None, 0.0, 5.0])
        house.faults = {chance.choice("abcd"): chance.choice(["connect", "server", "rate_limit", "overloaded", "cut"])}
        for answer, relay in await asyncio.gather(*(house.ask() for _ in range(100))):
            assert answer
            assert len({attempt.channel for attempt in relay.attempts}) == len(relay.attempts) <= MAX_ATTEMPTS
            attempts += len(relay.attempts)
        house.hands.now += chance.uniform(0, 20)
    assert 10_000 <= attempts <= 15_000
