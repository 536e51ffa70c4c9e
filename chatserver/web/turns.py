"""Turns as event streams: the JSON API's, one turn each, and the page's own, HTML for all turns it shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs

import msgspec

from chatserver import words
from chatserver.chat.live import Numbered
from chatserver.domain.access import Actor
from chatserver.domain.turns import (
    EndDelta,
    ReasoningDelta,
    ResetDelta,
    TextDelta,
    ToolCallDelta,
    ToolResultDelta,
    Turn,
    piece_end,
)
from chatserver.errors import BadInput, ChatserverError, Refused, Unavailable
from chatserver.house import House
from chatserver.web import views
from chatserver.web.articles import paint_article, paint_title
from chatserver.web.markdown import in_words
from chatserver.web.painter import Painters
from chatserver.web.streams import EventStream, Receive, Send, Streams, sse

MAX_TURNS = 16
TITLE_WAIT_S = 20.0

_encode = msgspec.json.Encoder().encode


class _Text(msgspec.Struct):
    text: str


class _Reset(msgspec.Struct):
    text: str
    reasoning: str


class _End(msgspec.Struct):
    state: str
    usage: object
    error: object


class _ToolCall(msgspec.Struct, omit_defaults=True):
    call_id: str
    name: str
    arguments: str
    asks: bool = False


class _ToolResult(msgspec.Struct):
    call_id: str
    text: str
    is_error: bool


def encode_batch(batch: list[Numbered]) -> bytes:
    """A batch as events: neighbouring text in one event, numbered by its last token."""
    chunks: list[bytes] = []
    kind, last = "", 0
    pieces: list[str] = []
    for number, delta in batch:
        if isinstance(delta, TextDelta):
            name, text = "text", delta.text
        elif isinstance(delta, ReasoningDelta):
            name, text = "reasoning", delta.text
        else:
            name, text = "", ""
        if name != kind and pieces:
            chunks.append(sse(_encode(_Text("".join(pieces))), event=kind, event_id=last))
            pieces = []
        kind, last = name, number
        if name:
            pieces.append(text)
        elif isinstance(delta, ResetDelta):
            chunks.append(sse(_encode(_Reset(delta.text, delta.reasoning)), event="reset", event_id=number))
        elif isinstance(delta, EndDelta):
            chunks.append(sse(_encode(_End(delta.state, delta.usage, delta.error)), event="end", event_id=number))
        elif isinstance(delta, ToolCallDelta):
            data = _encode(_ToolCall(delta.call_id, delta.name, delta.arguments, delta.asks))
            chunks.append(sse(data, event="tool_call", event_id=number))
        elif isinstance(delta, ToolResultDelta):
            data = _encode(_ToolResult(delta.call_id, delta.text, delta.is_error))
            chunks.append(sse(data, event="tool_result", event_id=number))
    if pieces:
        chunks.append(sse(_encode(_Text("".join(pieces))), event=kind, event_id=last))
    return b"".join(chunks)


def slices(batch: list[Numbered]) -> Iterator[list[Numbered]]:
    """A catch-up in pieces, so that one reader never holds the loop, nor much memory."""
    if len(batch) == 1:
        yield batch
        return
    deltas = [delta for _, delta in batch]
    start = 0
    while start < len(batch):
        until = piece_end(deltas, start)
        yield batch[start:until]
        start = until


def _actor(scope: dict[str, object]) -> Actor:
    state = scope.get("state")
    actor = state.get("actor") if isinstance(state, dict) else None
    if not isinstance(actor, Actor):
        raise Refused("Sign in first.", code="not_signed_in", status=401)
    return actor


def _asked(scope: dict[str, object], name: str) -> str:
    """A value of the query, '' when it names none."""
    query = scope.get("query_string")
    return parse_qs(query.decode("latin-1")).get(name, [""])[0] if isinstance(query, bytes) else ""


def _header(scope: dict[str, object], name: bytes) -> str:
    headers = scope.get("headers")
    pairs = headers if isinstance(headers, Iterable) else ()
    return next((bytes(value).decode("latin-1") for key, value in pairs if key == name), "")


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise BadInput("`after` is a sequence number: a whole number from 0 up.", code="bad_cursor")
    return int(text)


class TurnEvents:
    """ASGI: GET /api/turns/{id}/events?after=SEQ."""

    def __init__(self, house: House, streams: Streams) -> None:
        self._house = house
        self._streams = streams

    async def serve(self, scope: dict[str, object], receive: Receive, send: Send, turn_id: str) -> None:
        """Raises before the first byte: NotFound, BadInput, Refused, LimitReached, Unavailable."""
        actor = _actor(scope)
        if self._streams.is_draining:
            raise Unavailable(
                "The server is about to restart. Come back in a moment.", code="draining", retry_after_s=1
            )
        after = _number(_asked(scope, "after") or _header(scope, b"last-event-id") or "0")
        turn = await self._house.readers.turn(actor, turn_id)
        if self._house.readers.caught_up(turn, after):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return

        async def produce(stream: EventStream) -> None:
            async for batch in self._house.readers.follow(actor, turn, after):
                for piece in slices(batch):
                    await stream.write(encode_batch(piece))

        await self._streams.serve(EventStream(actor, receive, send), produce)


class PageEvents:
    """ASGI: GET /events?turns=ID:SEQ,…"""

    def __init__(self, house: House, streams: Streams, painters: Painters) -> None:
        self._house = house
        self._streams = streams
        self._painters = painters

    async def serve(self, scope: dict[str, object], receive: Receive, send: Send) -> None:
        actor = _actor(scope)
        if self._streams.is_draining:
            raise Unavailable(
                "The server is about to restart. Come back in a moment.", code="draining", retry_after_s=1
            )
        wanted = [pair for pair in _asked(scope, "turns").split(",") if pair]
        if not wanted or len(wanted) > MAX_TURNS:
            raise BadInput(
                "Name between one and %(most)s turns, as ?turns=ID:SEQ,…",
                values={"most": MAX_TURNS},
                code="bad_cursor",
            )
        settings = await self._house.accounts.settings(actor)
        if words.knows(spoken := str(settings.get("language", ""))):
            words.speak(spoken)
        turns = []
        for pair in wanted:
            turn_id, _, after = pair.partition(":")
            turns.append((await self._house.readers.turn(actor, turn_id), _number(after or "0")))

        async def produce(stream: EventStream) -> None:
            # an immediate comment flushes the head, so that the browser calls the stream open
            await stream.write(b": open\n\n")
            async with asyncio.TaskGroup() as group:
                for turn, after in turns:
                    group.create_task(self._show(stream, actor, turn, after))

        await self._streams.serve(EventStream(actor, receive, send), produce)

    async def _show(self, stream: EventStream, actor: Actor, turn: Turn, after: int) -> None:
        """Steps of one turn's painting, then the finished article, then the title when a new one comes."""
        if turn.state == "running":
            painting = await self._painters.open(actor, turn)
            position = after
            while True:
                position, html = painting.since(position)
                if html:
                    await stream.write(sse(views.tools_in_words(in_words(html)), event="fragment"))
                elif painting.is_ended:
                    break
                else:
                    await painting.wait()
        titled = self._house.titles.waiting(turn.conversation_id)
        article = await paint_article(self._house, actor, turn)
        await stream.write(sse(article, event="fragment"))
        if titled is not None:
            try:
                async with asyncio.timeout(TITLE_WAIT_S):
                    title = await asyncio.shield(titled)
            except (TimeoutError, ChatserverError):
                return
            if title:
                await stream.write(sse(paint_title(turn, title), event="fragment"))
