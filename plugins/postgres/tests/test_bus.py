"""Wake-ups reach the others, never come back, and come again after the server did."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from chatserver_postgres.bus import NotifyBus

from chatserver import Wake
from chatserver.testing.postgres import PostgresServer


class Ear:
    def __init__(self, bus: NotifyBus) -> None:
        self.heard: list[Wake] = []
        self._news = asyncio.Event()
        bus.listen(self._hear)

    def _hear(self, wakes: Sequence[Wake]) -> None:
        self.heard += wakes
        self._news.set()

    async def hears(self, wake: Wake, bus: NotifyBus, timeout_s: float = 15) -> None:
        """Says it again and again until it is heard: a bus may lose what is said while it connects."""
        async with asyncio.timeout(timeout_s):
            while wake not in self.heard:
                bus.send([wake])
                self._news.clear()
                try:
                    async with asyncio.timeout(0.2):
                        await self._news.wait()
                except TimeoutError:
                    continue


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    server = PostgresServer().start()
    yield server
    server.remove()


async def test_the_others_hear_and_the_speaker_does_not(postgres_url: str) -> None:
    one, two, three = (NotifyBus(postgres_url) for _ in range(3))
    ears = [Ear(bus) for bus in (one, two, three)]
    try:
        await ears[1].hears(("t1", 5), one)
        await ears[2].hears(("t1", 5), one)
        await ears[0].hears(("t2", 0), three)
        many = [(f"{number:026}", number) for number in range(1_000)]
        two.send(many)
        async with asyncio.timeout(10):
            while not set(many) <= set(ears[0].heard):
                await asyncio.sleep(0)
        assert ("t1", 5) not in ears[0].heard
        assert not set(many) & set(ears[1].heard)
    finally:
        for bus in (one, two, three):
            await bus.close()


async def test_a_restart_of_the_server_is_survived(own_server: PostgresServer, many_files: None) -> None:
    one, two = (NotifyBus(own_server.url()) for _ in range(2))
    ear = Ear(two)
    try:
        await ear.hears(("before", 1), one)
        await asyncio.to_thread(own_server.stop, "immediate")
        for number in range(100):
            one.send([("lost", number)])
        await asyncio.to_thread(own_server.start)
        await ear.hears(("after", 1), one)
    finally:
        await one.close()
        await two.close()
