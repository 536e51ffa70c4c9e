"""One streamed answer of a fake upstream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chatserver.testing.upstream.script import Script

if TYPE_CHECKING:
    from chatserver.testing.upstream.wire import Wire

BURST_TOKENS = 64
"""How many tokens are written at once when there is no gap."""
SLOW_READER_S = 0.005
BEAT_S = 0.01


class Stream:
    """One streamed answer on an absolute schedule, so that load does not make it drift."""

    __slots__ = ("_gap_s", "_handle", "_index", "_next_at", "_opening", "_script", "_wire", "is_over")

    def __init__(self, wire: Wire, script: Script) -> None:
        self._wire = wire
        self._script = script
        self._index = 0
        self._gap_s = script.options.get("gap", 0) / 1000
        self._next_at = wire.loop.time() + script.options.get("wait", 0) / 1000
        self._handle: asyncio.Handle | None = None
        self._opening = True
        self.is_over = False

    def start(self) -> None:
        if "beat" in self._script.options:
            self._write_head()
            self._beat()
        else:
            self._handle = self._wire.loop.call_at(self._next_at, self._tick)

    def stop(self) -> None:
        self.is_over = True
        if self._handle is not None:
            self._handle.cancel()

    def _write_head(self) -> None:
        self._opening = False
        assert self._wire.transport is not None
        self._wire.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nCache-Control: no-store\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%b"
            % (self._script.media_type.encode(), self._frame(opening) if (opening := self._script.opening()) else b"")
        )

    def _beat(self) -> None:
        if self.is_over or self._wire.transport is None:
            return
        loop = self._wire.loop
        if loop.time() >= self._next_at:
            return self._tick()
        self._wire.transport.write(self._frame(self._script.raw(": still here")))
        self._handle = loop.call_at(min(self._next_at, loop.time() + BEAT_S), self._beat)

    def _frame(self, data: bytes) -> bytes:
        if "split" in self._script.options:
            return b"".join(b"1\r\n%c\r\n" % byte for byte in data)
        return b"%x\r\n%b\r\n" % (len(data), data)

    def _tick(self) -> None:
        wire, script, options = self._wire, self._script, self._script.options
        transport = wire.transport
        if self.is_over or transport is None or transport.is_closing():
            return
        if wire.is_paused:
            self._next_at = wire.loop.time() + SLOW_READER_S
            self._handle = wire.loop.call_at(self._next_at, self._tick)
            return
        if self._opening:
            self._write_head()
        stop_at = script.total
        ending = ""
        for name in ("cut", "stall", "short", "oops"):
            if name in options and options[name] <= stop_at:
                stop_at, ending = options[name], name
        left = stop_at - self._index
        burst = min(1 if self._gap_s else BURST_TOKENS, left)
        out = []
        for _ in range(burst):
            if "garbage" in options:
                out.append(self._frame(script.raw("data: {this is not JSON") + script.raw(": a comment")))
            out.append(self._frame(script.token_event(self._index)))
            self._index += 1
        wire.connection.sent_tokens += burst
        wire.upstream.counters.tokens += burst
        if self._index < stop_at:
            transport.write(b"".join(out))
            if self._gap_s:
                self._next_at += self._gap_s
                self._handle = wire.loop.call_at(self._next_at, self._tick)
            else:
                self._handle = wire.loop.call_soon(self._tick)
            return
        self._end(ending, out, transport)

    def _end(self, ending: str, out: list[bytes], transport: asyncio.Transport) -> None:
        if ending == "stall":
            transport.write(b"".join(out))
            self._wire.upstream.notice()
            return
        self.is_over = True
        if ending == "cut":
            transport.write(b"".join(out))
            transport.close()
            return
        if ending == "oops":
            out.append(self._frame(self._script.oops()))
        elif ending != "short":
            out.append(self._frame(self._script.closing()))
            self._wire.upstream.counters.finished += 1
        out.append(b"0\r\n\r\n")
        transport.write(b"".join(out))
        self._wire.finish()
