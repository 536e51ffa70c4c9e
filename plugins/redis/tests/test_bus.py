"""The bus on Redis: it carries wake-ups, and survives whatever befalls Redis without being told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import chatserver_redis
import pytest
from chatserver_redis.bus import MAX_WAITING, RedisBus

from chatserver import Bus, SetupError, Wake, clock
from chatserver.testing import Plugins
from chatserver.testing.redis import RedisServer

Make = Callable[[], RedisBus]


class Ear:
    """Everything a bus heard."""

    def __init__(self, bus: Bus) -> None:
        self.wakes: list[Wake] = []
        bus.listen(self.hear)

    def hear(self, wakes: Sequence[Wake]) -> None:
        self.wakes += wakes


@pytest.fixture
async def make(redis_server: RedisServer) -> AsyncIterator[Make]:
    buses: list[RedisBus] = []

    def make_one() -> RedisBus:
        buses.append(RedisBus(redis_server.url, channel="house"))
        return buses[-1]

    yield make_one
    for bus in buses:
        await bus.close()


async def heard_s(bus: RedisBus, ear: Ear, wake: Wake, timeout_s: float = 10.0) -> float:
    """Send a wake-up again and again until it is heard; how long that took."""
    began = clock.monotonic_s()
    while wake not in ear.wakes:
        assert clock.monotonic_s() - began < timeout_s, "never heard"
        bus.send([wake])
        await asyncio.sleep(0.02)
    return clock.monotonic_s() - began


async def test_others_hear_what_is_sent_and_the_sender_does_not(make: Make) -> None:
    one, other = make(), make()
    ears = [Ear(one), Ear(other)]
    await heard_s(one, ears[1], ("first", 1))
    one.send([("a", 7), ("b", 2), ("b", 0), ("b", 3)])
    one.send([("c", 1)])
    async with asyncio.timeout(5):
        while ("c", 1) not in ears[1].wakes:
            await asyncio.sleep(0.01)
    assert ears[0].wakes == []
    assert {("a", 7), ("b", 0)} <= set(ears[1].wakes), "a stop does not hide behind a number"


@pytest.mark.parametrize("fate", ["killed", "flushed", "cut off", "paused"])
async def test_it_recovers_alone(
    make: Make, redis_server: RedisServer, caplog: pytest.LogCaptureFixture, fate: str
) -> None:
    caplog.set_level(logging.WARNING)
    one, other = make(), make()
    ear = Ear(other)
    await heard_s(one, ear, ("before", 1))
    if fate == "killed":
        redis_server.kill()
    elif fate == "flushed":
        assert redis_server.ask("FLUSHALL") == "+OK"
    elif fate == "cut off":
        for kind in ("normal", "pubsub"):
            redis_server.ask(f"CLIENT KILL TYPE {kind}")
    else:
        redis_server.pause()
    began = clock.monotonic_s()
    while clock.monotonic_s() - began < 2.5 and fate in ("killed", "paused"):
        one.send([("meanwhile", 1)])
        await asyncio.sleep(0.02)
    if fate == "killed":
        redis_server.start()
    elif fate == "paused":
        redis_server.go_on()
    took_s = await heard_s(one, ear, ("after", 1))
    print(f"{fate}: heard again after {took_s:.2f} s")
    assert took_s < 20
    away = [one for one in caplog.messages if "away" in one]
    assert len(away) <= 2, "each bus says once that Redis is away"
    if fate == "killed":
        assert away


async def test_it_starts_while_redis_is_away_and_says_so(
    redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    redis_server.kill()
    one = RedisBus(redis_server.url, channel="house")
    other = RedisBus(redis_server.url, channel="house")
    ear = Ear(other)
    try:
        for number in range(MAX_WAITING + 5):
            one.send([(f"t{number}", 1)])
        assert len(one._waiting) == MAX_WAITING
        async with asyncio.timeout(5):
            while not caplog.messages:
                await asyncio.sleep(0.01)
        assert "is away" in caplog.messages[0] and "Nothing is lost" in caplog.messages[0]
        redis_server.start()
        await heard_s(one, ear, ("after", 1))
        assert any("is back" in one for one in caplog.messages)
    finally:
        await one.close()
        await other.close()


async def test_a_url_that_cannot_be_read_stops_the_start_without_telling_the_password(
    plugin_manager: Callable[..., Plugins],
) -> None:
    ((_, kind),) = plugin_manager(redis=chatserver_redis).registered("register_buses")
    assert kind.schemes == ("redis", "rediss", "unix")
    with pytest.raises(SetupError) as caught:
        await kind.open("redis://:hunter2@host:port", {})
    assert "hunter2" not in str(caught.value)
