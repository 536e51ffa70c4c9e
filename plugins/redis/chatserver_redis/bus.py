"""Wake-ups by PUBLISH: a task that sends what piled up, and one that listens; both come back when Redis does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from chatserver import SetupError, Wake, clock, pack_wakes, unpack_wakes

ANSWER_S = 1.0
"""How long Redis may take for anything: it is in memory, and a hint that comes later is worth nothing."""
SILENCE_S = 5.0
"""After so long without a word the listener asks whether Redis is still there."""
PAUSE_S = 0.5
MAX_WAITING = 10_000
TROUBLE = (RedisError, OSError, TimeoutError)

log = logging.getLogger(__name__)


class RedisBus:
    """Made on the event loop that sends and hears. What cannot be sent now is dropped: every node also looks by
    itself. Raises SetupError for a URL that cannot be read; a Redis that is away is no error."""

    def __init__(self, url: str, *, channel: str) -> None:
        self._url = url
        self._channel = channel
        self._node = clock.new_id()
        self._hear: list[Callable[[Sequence[Wake]], None]] = []
        self._waiting: dict[str, int] = {}
        self._news = asyncio.Event()
        self._is_away = False
        self._is_closed = False
        try:
            self._client()
        except ValueError:
            raise SetupError(
                "CHATSERVER_REDIS_URL cannot be read; it looks like redis://:password@host:6379."
            ) from None
        self._tasks = [
            asyncio.create_task(self._keep(work), name=f"redis-{work.__name__.strip('_')}")
            for work in (self._send_all, self._listen)
        ]

    def listen(self, hear: Callable[[Sequence[Wake]], None]) -> None:
        self._hear.append(hear)

    def send(self, wakes: Sequence[Wake]) -> None:
        for turn_id, seq in wakes:
            if len(self._waiting) < MAX_WAITING:
                # a stop, which is 0, must not hide behind a number
                self._waiting[turn_id] = 0 if self._waiting.get(turn_id) == 0 else seq
        self._news.set()

    async def close(self) -> None:
        self._is_closed = True
        left: Iterable[asyncio.Task[None]] = self._tasks
        while left:  # again, because a library in mid-handshake may swallow it
            for task in left:
                task.cancel()
            _, left = await asyncio.wait(left, timeout=0.2)

    def _client(self) -> Redis:
        return Redis.from_url(
            self._url,
            socket_timeout=ANSWER_S,
            socket_connect_timeout=ANSWER_S,
            retry=Retry(NoBackoff(), 0),  # we come back by ourselves, and drop what is late
        )

    async def _keep(self, work: Callable[[Redis], Awaitable[None]]) -> None:
        """A task's life: connect, work until the connection breaks, again."""
        while not self._is_closed:
            client = self._client()
            try:
                await work(client)
            except TROUBLE as error:
                self._note_away(error)
            finally:
                await _close(client)
            await asyncio.sleep(PAUSE_S)

    async def _send_all(self, client: Redis) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            waiting, self._waiting = self._waiting, {}
            for line in pack_wakes(self._node, waiting):
                await client.publish(self._channel, line)

    async def _listen(self, client: Redis) -> None:
        async with client.pubsub() as ear:
            await ear.subscribe(self._channel)  # the confirmation is the first thing heard
            is_asked = True
            while True:
                heard = await ear.get_message(timeout=ANSWER_S if is_asked else SILENCE_S)
                if heard is not None:
                    is_asked = False
                    self._note_back()
                    if heard["type"] == "message":
                        self._tell(heard["data"])
                elif is_asked:
                    raise TimeoutError("it does not answer")
                else:
                    await ear.ping()
                    is_asked = True

    def _tell(self, payload: Any) -> None:
        node, wakes = unpack_wakes(payload.decode("utf-8", "replace"))
        if node == self._node or not wakes:
            return
        for hear in self._hear:
            hear(wakes)

    def _note_away(self, error: Exception) -> None:
        if not self._is_away:
            self._is_away = True
            log.warning(
                "Redis at %s is away (%s). Nothing is lost: until it is back, the nodes look into the database once a"
                " second.",
                _place_of(self._url),
                " ".join(str(error).split()) or type(error).__name__,
            )

    def _note_back(self) -> None:
        if self._is_away:
            self._is_away = False
            log.warning("Redis at %s is back.", _place_of(self._url))


async def _close(client: Redis) -> None:
    try:
        await client.aclose()
    except TROUBLE:
        return


def _place_of(url: str) -> str:
    """The URL without its secrets."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}" if parts.hostname else parts.path
