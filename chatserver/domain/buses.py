"""The bus between the nodes of one house: what it carries, what a plugin that brings one has to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

Wake = tuple[str, int]
"""A turn's id, and the number of its newest stored event; 0: look whether it is to stop."""


class Bus(Protocol):
    """Wake-ups between the nodes of one house. It may lose any: whoever waits also looks by himself now and then.

    send: at once, never blocks, never raises; reaches every other node, and may reach this one. listen: who is told
    of what comes in, on the event loop. close: no wake-up comes after it.
    """

    def send(self, wakes: Sequence[Wake]) -> None: ...
    def listen(self, hear: Callable[[Sequence[Wake]], None]) -> None: ...
    async def close(self) -> None: ...


class BusKind(msgspec.Struct, frozen=True):
    """A bus, by the URL it runs on. schemes: what such a URL begins with; CHATSERVER_REDIS_URL is asked first, then
    CHATSERVER_DATABASE_URL. open: given the URL and the plugin's settings, from the running event loop."""

    name: str
    schemes: tuple[str, ...]
    open: Callable[[str, Mapping[str, Any]], Awaitable[Bus]]


def pack_wakes(node: str, newest: Mapping[str, int], most_bytes: int = 1_000_000) -> list[str]:
    """Wake-ups as a bus may carry them: lines `node turn:seq turn:seq…` of at most so many bytes. newest: by turn."""
    lines, line = [], node
    for turn_id, seq in newest.items():
        piece = f" {turn_id}:{seq}"
        if len(line) + len(piece) > most_bytes:
            lines.append(line)
            line = node
        line += piece
    return [*lines, line]


def unpack_wakes(line: str) -> tuple[str, list[Wake]]:
    """Which node sent it, and what; what cannot be read is left out."""
    node, *pieces = line.split(" ")
    wakes = []
    for piece in pieces:
        turn_id, _, seq = piece.partition(":")
        if turn_id and seq.isascii() and seq.isdigit():
            wakes.append((turn_id, int(seq)))
    return node, wakes
