"""Many chats at once: when the first token of each answer came, and how late every other one was."""

from __future__ import annotations

import asyncio
import random
import re
import time
from array import array
from typing import NamedTuple, Protocol

import msgspec

from benchmarks import machine
from benchmarks.servers import Running
from benchmarks.wire import Wire

# The upstream writes the moment of its emission into every token, by the clock all processes of a machine share.
_STAMP = re.compile(rb"@(\d{8,})@")
TURNS_PER_CONVERSATION = 4
CLOCK_PER_S = 1_000_000_000


class Shape(NamedTuple):
    """What is asked of the upstream: the first token after wait_s, then `tokens` in all, gap_s apart."""

    wait_s: float
    gap_s: float
    tokens: int

    @property
    def model(self) -> str:
        pieces = ["bench-stamp"]
        if self.wait_s:
            pieces.append(f"wait{round(self.wait_s * 1000)}")
        if self.gap_s:
            pieces.append(f"gap{round(self.gap_s * 1000)}")
        return "-".join([*pieces, f"n{self.tokens}"])


TALK = Shape(0.2, 0.05, 60)
QUICK = Shape(0.02, 0.005, 10)


class Result(NamedTuple):
    """Times in ms; what could not be measured is nan. cpu_s_per_1000: processor seconds per 1,000 tokens."""

    streams: int
    first_p50: float
    first_p99: float
    delay_p50: float
    delay_p99: float
    tokens_per_s: float
    cpu_s_per_1000: float
    memory_mb: float
    load_share: float
    done: int
    failed: int
    why: str


class Tally:
    def __init__(self, warm_s: float, seconds: float) -> None:
        self.begin = time.monotonic() + warm_s
        self.end = self.begin + seconds
        self.first, self.delay = array("d"), array("d")
        self.tokens = self.done = self.failed = 0
        self.reasons: dict[str, int] = {}

    def fail(self, why: str) -> None:
        self.failed += 1
        self.reasons[why] = self.reasons.get(why, 0) + 1


class Answering:
    """Watches one answer arrive. A token that is sent again, in a block drawn anew, counts once."""

    def __init__(self, tally: Tally, sent: float, wait_s: float) -> None:
        self.tally, self.sent, self.wait_s = tally, sent, wait_s
        self.seen = 0
        self._newest = 0
        self._tail = b""

    def __call__(self, body: bytes) -> None:
        now = time.monotonic()
        tally = self.tally
        text = self._tail + body
        self._tail = text[-24:]
        is_inside = tally.begin <= now < tally.end
        for match in _STAMP.finditer(text):
            stamp = int(match[1])
            if stamp <= self._newest:
                continue
            self._newest = stamp
            self.seen += 1
            if is_inside:
                tally.tokens += 1
                if self.seen > 1:
                    tally.delay.append(now - stamp / CLOCK_PER_S)
                elif self.sent >= tally.begin:
                    tally.first.append(now - self.sent - self.wait_s)


class Target(Protocol):
    """Whatever chats go by way of. chat: '' when it went well, else why not."""

    running: Running

    async def chat(self, wire: Wire, shape: Shape, tally: Tally, turn: int) -> str: ...


class Floor:
    """A chat by way of the floor: one request, relayed."""

    def __init__(self, running: Running) -> None:
        self.running = running

    async def chat(self, wire: Wire, shape: Shape, tally: Tally, turn: int) -> str:
        watch = Answering(tally, time.monotonic(), shape.wait_s)
        body = {"model": shape.model, "messages": [{"role": "user", "content": "Tell me a story."}], "stream": True}
        answer = await wire.ask("POST", "/v1/chat/completions", body=body, on_body=watch)
        return verdict(answer.status, watch.seen, shape, b"[DONE]" in answer.body[-200:])


class Sent(msgspec.Struct):
    conversation_id: str
    turn_id: str


class Made(msgspec.Struct):
    id: str


class Server:
    """A chat by way of the server: the question is kept, the answer is a turn, and this is one of its readers."""

    def __init__(self, running: Running, key: str, *, is_page: bool) -> None:
        self.running, self.key, self.is_page = running, key, is_page
        self._conversations: dict[Wire, str] = {}

    async def chat(self, wire: Wire, shape: Shape, tally: Tally, turn: int) -> str:
        if turn % TURNS_PER_CONVERSATION == 0:
            answer = await wire.ask("POST", "/api/conversations", key=self.key, body={"title": "Bench"})
            if answer.status != 201:
                return f"create {answer.status} {answer.body[:100]!r}"
            self._conversations[wire] = msgspec.json.decode(answer.body, type=Made).id
        path = f"/api/conversations/{self._conversations[wire]}/messages"
        watch = Answering(tally, time.monotonic(), shape.wait_s)
        body = {"text": "Tell me a story.", "model": shape.model}
        answer = await wire.ask("POST", path, key=self.key, body=body)
        if answer.status != 202:
            return f"send {answer.status} {answer.body[:100]!r}"
        turn_id = msgspec.json.decode(answer.body, type=Sent).turn_id
        path = f"/events?turns={turn_id}:0" if self.is_page else f"/api/turns/{turn_id}/events?after=0"
        answer = await wire.ask("GET", path, key=self.key, on_body=watch, accept="text/event-stream")
        is_ended = b'data-op="end"' in answer.body if self.is_page else b"event: end" in answer.body[-600:]
        return verdict(answer.status, watch.seen, shape, is_ended)


def verdict(status: int, seen: int, shape: Shape, is_ended: bool) -> str:
    if status != 200:
        return f"status {status}"
    if seen != shape.tokens:
        return f"{seen} of {shape.tokens} tokens"
    return "" if is_ended else "no end"


async def measure(target: Target, shape: Shape, streams: int, seconds: float, warm_s: float) -> Result:
    """Keep `streams` chats going for a while."""
    tally = Tally(warm_s, seconds)
    tasks = [
        asyncio.create_task(_keep_chatting(target, shape, tally, warm_s * 0.8 * (number + random.random()) / streams))
        for number in range(streams)
    ]
    await asyncio.sleep(max(0.0, tally.begin - time.monotonic()))
    cpu, own = machine.cpu_s(target.running.pid), time.process_time()
    await asyncio.sleep(max(0.0, tally.end - time.monotonic()))
    cpu, own = machine.cpu_s(target.running.pid) - cpu, time.process_time() - own
    memory = machine.memory_mb(target.running.pid)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return Result(
        streams,
        percentile_ms(tally.first, 50),
        percentile_ms(tally.first, 99),
        percentile_ms(tally.delay, 50),
        percentile_ms(tally.delay, 99),
        tally.tokens / seconds,
        cpu / tally.tokens * 1000 if tally.tokens else float("nan"),
        memory,
        own / seconds,
        tally.done,
        tally.failed,
        "; ".join(f"{why} ×{count}" for why, count in sorted(tally.reasons.items())[:3]),
    )


async def _keep_chatting(target: Target, shape: Shape, tally: Tally, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    wire = target.running.wire()
    turn = 0
    try:
        while time.monotonic() < tally.end:
            try:
                why = await asyncio.wait_for(target.chat(wire, shape, tally, turn), 60)
            except (OSError, TimeoutError) as error:
                why = type(error).__name__
            turn += 1
            if why:
                tally.fail(why)
                wire.close()
                turn = 0
                await asyncio.sleep(0.1)
            else:
                tally.done += 1
    finally:
        wire.close()


def percentile_ms(values: array[float] | list[float], percent: float) -> float:
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] * 1000
