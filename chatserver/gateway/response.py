"""What came back from outside, read under the rules of time and size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp

from chatserver.errors import UpstreamError
from chatserver.gateway.decoding import open_decoder
from chatserver.gateway.mishaps import CONNECTION_LOST, cut_off, place_of, too_slow

FOREIGN_LIMIT_BYTES = 20_000_000
SECOND_LOOK_S = 0.05


class Response:
    """What came back, under the gap and total rules. One timer watches a whole answer, not one for each chunk."""

    __slots__ = (
        "_answer",
        "_gap_s",
        "_heard_at",
        "_is_suspect",
        "_is_waiting",
        "_limit_bytes",
        "_loop",
        "_next_at",
        "_timer",
        "_total_at",
        "headers",
        "status",
    )

    def __init__(
        self, answer: aiohttp.ClientResponse, first_at: float, gap_s: float, total_at: float, limit_bytes: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer = answer
        self._gap_s = gap_s
        self._total_at = total_at
        self._limit_bytes = limit_bytes
        self._is_waiting = False
        self._is_suspect = False
        self._heard_at = 0.0
        self._next_at = first_at
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(min(first_at, total_at), self._watch)
        self.status: int = answer.status
        self.headers: Mapping[str, str] = answer.headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Bytes as they arrive, decoded. UpstreamError: timeout, cut (the connection broke), server (too large)."""
        content = self._answer.content
        inflate = open_decoder(self.headers.get("Content-Encoding", ""), place_of(self._answer.url))
        time = self._loop.time
        total_bytes = 0
        broken: UpstreamError | None = None
        try:
            while broken is None:
                self._is_waiting = True
                try:
                    data = await content.readany()
                except UpstreamError as error:
                    data, broken = _left_over(content), error
                except CONNECTION_LOST:
                    data, broken = _left_over(content), cut_off(self._answer.url, self.status)
                self._is_waiting = False
                if not data:
                    break
                if not self._heard_at:
                    self._heard_at = time()
                    self._watch_anew()
                if inflate is None:
                    total_bytes += len(data)
                    if total_bytes > self._limit_bytes:
                        raise self._too_large()
                    yield data
                else:
                    for piece in inflate(data):
                        total_bytes += len(piece)
                        if total_bytes > self._limit_bytes:
                            raise self._too_large()
                        yield piece
                self._heard_at = time()
        finally:
            self._is_waiting = False
        if broken is not None:
            raise broken

    async def read(self, limit_bytes: int = FOREIGN_LIMIT_BYTES) -> bytes:
        """The whole body, decoded; UpstreamError when it is longer than the limit."""
        self._limit_bytes = min(self._limit_bytes, limit_bytes)
        return b"".join([chunk async for chunk in self.chunks()])

    def close(self) -> None:
        """Give the connection back when all was read, else cut it now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answer.content.at_eof():
            self._answer.release()
        else:
            self._answer.close()

    def _watch_anew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._watch()

    def _watch(self) -> None:
        now = self._loop.time()
        if now >= self._total_at:
            return self._break("took longer than allowed for a whole answer")
        if self._heard_at:
            # A reader that is slow itself is no silence of the upstream.
            self._next_at = (self._heard_at if self._is_waiting else now) + self._gap_s
        if now >= self._next_at and self._is_suspect:
            return self._break("fell silent" if self._heard_at else "did not begin to answer in time")
        # When it was our own loop that stood still, what arrived meanwhile is read before anybody is blamed.
        self._is_suspect = now >= self._next_at
        wake_at = now + SECOND_LOOK_S if self._is_suspect else self._next_at
        self._timer = self._loop.call_at(min(wake_at, self._total_at), self._watch)

    def _break(self, what: str) -> None:
        self._timer = None
        self._answer.content.set_exception(too_slow(self._answer.url, what, self.status))
        self._answer.close()

    def _too_large(self) -> UpstreamError:
        return UpstreamError(
            f"{place_of(self._answer.url)} answered with more than {self._limit_bytes // 1_000_000} MB.",
            kind="server",
            retryable=False,
            upstream_status=self.status,
        )


def _left_over(content: aiohttp.StreamReader) -> bytes:
    """What had arrived when the connection broke: received is received, though aiohttp's readers raise first."""
    return b"".join(getattr(content, "_buffer", ()))
