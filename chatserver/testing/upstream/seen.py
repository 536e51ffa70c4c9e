"""What came to a fake upstream, with its times."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver import clock


class Seen(msgspec.Struct, frozen=True):
    """A request as it arrived. at_ns: monotonic. headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at_ns: int

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body) if self.body else None

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


class Connection(msgspec.Struct):
    """One TCP connection. closed_ns 0: still open. is_hung_up: the other side left in the middle of an answer."""

    opened_ns: int
    closed_ns: int = 0
    requests: int = 0
    is_hung_up: bool = False
    model: str = ""
    sent_tokens: int = 0


class Counters(msgspec.Struct):
    requests: int = 0
    streams: int = 0
    finished: int = 0
    hung_up: int = 0
    faults: int = 0
    tokens: int = 0


def now_ns() -> int:
    return int(clock.monotonic_s() * 1_000_000_000)
