"""Listen to an answer until it is over: what was said is handed over, what broke off is told from what ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol

from chatserver.domain.extend import ChatRequest, EgressResponse, ProviderDelta
from chatserver.domain.messages import TextPart
from chatserver.domain.models import Channel
from chatserver.errors import UpstreamError
from chatserver.upstreams.events import EventReader, EventTooLong, LineReader
from chatserver.upstreams.refusals import unreadable

MAX_ANSWER_BYTES = 20_000_000
DRAIN_S = 0.05
"""How long we wait after the last event for the body to end, so that the connection can be used again."""


class Answer(Protocol):
    """What a provider makes of an answer.

    finish: how it ended, '' until that was said.

    take: read one event, append what it says; True when it is the last. take_last: one without its line end, when the
    body was over. take_whole: an answer that came in one piece. close: what is known only at the end. All may raise
    UpstreamError.
    """

    @property
    def finish(self) -> str: ...
    def take(self, event: bytes, deltas: list[ProviderDelta]) -> bool: ...
    def take_last(self, event: bytes, deltas: list[ProviderDelta]) -> bool: ...
    def take_whole(self, body: bytes, deltas: list[ProviderDelta]) -> None: ...
    def close(self) -> list[ProviderDelta]: ...


def is_event_stream(response: EgressResponse, first: bytes) -> bool:
    """By the type it names; by its first byte when the type tells nothing."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return True
    return not first.lstrip().startswith((b"{", b"[", b"<"))


async def listen(
    response: EgressResponse,
    channel: Channel,
    answer: Answer,
    reader: EventReader | LineReader,
    is_stream: Callable[[EgressResponse, bytes], bool] = is_event_stream,
) -> AsyncGenerator[ProviderDelta, None]:
    """The deltas of an answer that began with 200, whether it came as a stream or whole."""
    streams: bool | None = None
    whole: list[bytes] = []
    whole_bytes = 0
    is_done = False
    try:
        async with aclosing(response.chunks()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                if streams is None:
                    streams = is_stream(response, chunk)
                if not streams:
                    whole.append(chunk)
                    whole_bytes += len(chunk)
                    if whole_bytes > MAX_ANSWER_BYTES:
                        raise unreadable(channel.name, "more than it may")
                    continue
                deltas: list[ProviderDelta] = []
                refused: UpstreamError | None = None
                try:
                    for event in reader.feed(chunk):
                        is_done = answer.take(event, deltas)
                        if is_done:
                            break
                except UpstreamError as error:
                    refused = error
                # What was said before it went wrong was said.
                for delta in deltas:
                    yield delta
                if refused is not None:
                    raise refused
                if is_done:
                    await _drain(chunks)
                    break
    except UpstreamError as error:
        # Silence or a broken line after the last word of the answer harms nobody.
        if not answer.finish or error.kind not in ("cut", "timeout"):
            raise
    except EventTooLong:
        raise unreadable(channel.name, "an event that does not end") from None
    deltas = []
    if streams is False:
        answer.take_whole(b"".join(whole), deltas)
    else:
        for event in () if is_done else reader.end():
            is_done = is_done or answer.take_last(event, deltas)
    for delta in deltas:
        yield delta
    if not is_done and not answer.finish:
        raise UpstreamError(
            f"The answer of the channel {channel.name} broke off.",
            kind="cut",
            retryable=True,
            upstream_status=response.status,
        )
    for delta in answer.close():
        yield delta


def secrets_of(request: ChatRequest, channel: Channel) -> tuple[str, ...]:
    """What an upstream's error may not repeat to anyone: the key, and what was asked."""
    asked = (part.text[:40] for message in request.messages for part in message.parts if isinstance(part, TextPart))
    return (channel.api_key, *(text for text in asked if len(text) >= 8))


def kind_of(body: bytes) -> str:
    """What a body that should have been JSON seems to be, for a sentence."""
    return "a web page" if body.lstrip()[:1] == b"<" else "something that could not be read"


async def _drain(chunks: AsyncIterator[bytes]) -> None:
    try:
        async with asyncio.timeout(DRAIN_S):
            async for _ in chunks:
                pass
    except (TimeoutError, UpstreamError):
        return
