"""What is kept: saving and opening conversations of any length, searching them, and many durable sends at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple

import msgspec

from benchmarks import machine
from benchmarks.load import Made, Sent, percentile_ms
from benchmarks.servers import Bench, Running
from benchmarks.storing import ABSENT, COMMON, MODEL, RARE, Stored
from benchmarks.wire import Wire

SENDERS = 200


class Opened(NamedTuple):
    """Times in ms."""

    length: int
    save_p50: float
    json_p50: float
    json_kb: float
    page_p50: float
    page_kb: float


class Searched(NamedTuple):
    """own: messages of the account that searches, of so many in all of so many accounts."""

    own: int
    messages: int
    accounts: int
    absent_p50: float
    rare_p50: float
    common_p50: float


class Sends(NamedTuple):
    senders: int
    per_s: float
    p50: float
    p99: float
    failed: int


async def _times(times: int, act: Callable[[], Awaitable[object]]) -> float:
    """The median in ms."""
    taken = []
    for _ in range(times):
        start = time.monotonic()
        await act()
        taken.append(time.monotonic() - start)
    return statistics.median(taken) * 1000


BREATH_S = 0.05
"""Between an answer and the next question: what the server still writes about the answer is not part of saving."""


async def measure_lengths(running: Running, key: str, stored: dict[int, str]) -> list[Opened]:
    wire = running.wire()
    found = []
    for length, conversation_id in stored.items():
        saves, body, page = [], b"", b""
        for _ in range(30):
            path = f"/api/conversations/{conversation_id}/messages"
            start = time.monotonic()
            answer = await wire.ask("POST", path, key=key, body={"text": "And then?", "model": MODEL})
            saves.append(time.monotonic() - start)
            assert answer.status == 202, answer
            turn_id = msgspec.json.decode(answer.body, type=Sent).turn_id
            await wire.ask("GET", f"/api/turns/{turn_id}/events?after=0", key=key)
            await asyncio.sleep(BREATH_S)

        async def read(path: str, key: str) -> bytes:
            answer = await wire.ask("GET", path, accept="text/html", key=key)
            assert answer.status == 200, (path, answer.status, answer.body[:300])
            return answer.body

        list_path, page_path = f"/api/conversations/{conversation_id}/messages", f"/c/{conversation_id}"
        body = await read(list_path, key=key)
        page = await read(page_path, key=key)
        json_ms = await _times(10, partial(read, list_path, key=key))
        page_ms = await _times(30, partial(read, page_path, key=key))
        save_ms = statistics.median(saves) * 1000
        found.append(Opened(length, save_ms, json_ms, len(body) / 1000, page_ms, len(page) / 1000))
    wire.close()
    return found


async def measure_search(running: Running, key: str, own: int, stored: Stored) -> Searched:
    wire = running.wire()

    async def ask(word: str) -> None:
        answer = await wire.ask("GET", f"/api/search?q={word}", key=key)
        assert answer.status == 200, answer

    taken = [await _times(30, partial(ask, word)) for word in (ABSENT, RARE, COMMON)]
    wire.close()
    return Searched(own, stored.messages, stored.accounts, *taken)


async def measure_sends(running: Running, key: str, seconds: float = 5.0) -> Sends:
    """Each sender asks anew as soon as the last question is durably kept; nobody reads the answers."""
    taken: list[float] = []
    failed = 0
    end = time.monotonic() + seconds

    async def send(wire: Wire) -> None:
        nonlocal failed
        answer = await wire.ask("POST", "/api/conversations", key=key, body={"title": "Bench"})
        path = f"/api/conversations/{msgspec.json.decode(answer.body, type=Made).id}/messages"
        while (start := time.monotonic()) < end:
            body = {"text": "Tell me a story.", "model": MODEL, "parent_id": None}
            answer = await wire.ask("POST", path, key=key, body=body)
            if answer.status == 202:
                taken.append(time.monotonic() - start)
            else:
                failed += 1
        wire.close()

    start = time.monotonic()
    await asyncio.gather(*(send(running.wire()) for _ in range(SENDERS)))
    return Sends(
        SENDERS, len(taken) / (time.monotonic() - start), percentile_ms(taken, 50), percentile_ms(taken, 99), failed
    )


class Started(NamedTuple):
    """first_answer_s: from the command to the last byte of the first answer."""

    first_answer_s: float
    memory_mb: float


async def measure_start(bench: Bench) -> Started:
    start = time.monotonic()
    async with bench.server() as running:
        wire = running.wire()
        answer = await wire.ask("POST", "/api/conversations", key=bench.key, body={"title": "Bench"})
        path = f"/api/conversations/{msgspec.json.decode(answer.body, type=Made).id}/messages"
        answer = await wire.ask("POST", path, key=bench.key, body={"text": "Hello", "model": MODEL})
        assert answer.status == 202, answer
        turn_id = msgspec.json.decode(answer.body, type=Sent).turn_id
        await wire.ask("GET", f"/api/turns/{turn_id}/events?after=0", key=bench.key)
        took = time.monotonic() - start
        wire.close()
        await asyncio.sleep(2)
        return Started(took, machine.memory_mb(running.pid))
