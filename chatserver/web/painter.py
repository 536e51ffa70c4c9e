"""Paint a running turn into HTML once per node, however many pages watch, in numbered steps to resume from."""

from __future__ import annotations

import asyncio
from collections import deque
from html import escape

from chatserver.chat.live import Numbered
from chatserver.chat.news import News
from chatserver.chat.readers import Readers
from chatserver.clock import monotonic_s
from chatserver.domain.access import Actor
from chatserver.domain.turns import (
    EndDelta,
    ReasoningDelta,
    ResetDelta,
    TextDelta,
    ToolCallDelta,
    ToolResultDelta,
    Turn,
)
from chatserver.web.blocks import BlockStream, Op
from chatserver.web.tool_blocks import ToolBlocks

PAINT_EVERY_S = 0.04
"""At most 25 paints a second and turn: what an eye takes for steady."""
KEPT_FRAGMENTS = 256


class Snapshot:
    """What a page shows of a running turn, and the number to resume from."""

    __slots__ = ("reasoning_done", "reasoning_open", "seq", "text_done", "text_open", "tools_done", "tools_open")

    def __init__(self, seq: int, text: tuple[str, str], reasoning: tuple[str, str], tools: tuple[str, str]) -> None:
        self.seq = seq
        self.text_done, self.text_open = text
        self.reasoning_done, self.reasoning_open = reasoning
        self.tools_done, self.tools_open = tools


def fragment(turn: Turn, seq: int, op: str, html: str, part: str = "text") -> str:
    """One step of the page's stream; the page's script knows where each op goes."""
    return (
        f'<template data-turn="{turn.id}" data-reply="{turn.reply_id}" data-seq="{seq}" data-op="{escape(op)}"'
        f' data-part="{part}">{html}</template>'
    )


class Painting:
    """One turn as it is painted. `seq` is the number of the newest delta that is in the picture. above: the words its
    reply goes on from, which are there before the first delta."""

    def __init__(self, turn: Turn, above: str = "") -> None:
        self.turn = turn
        self._above = above
        self.seq = 0
        self.is_ended = False
        self.watchers = 0
        self.task: asyncio.Task[None] | None = None
        self._streams = self._begin()
        self._tools = ToolBlocks(turn.id)
        self._fragments: deque[tuple[int, int, str]] = deque(maxlen=KEPT_FRAGMENTS)
        self._news = News()
        self._painted_s = 0.0

    def _begin(self) -> dict[str, BlockStream]:
        text = BlockStream()
        text.feed(self._above)
        return {"reasoning": BlockStream(), "text": text}

    def snapshot(self) -> Snapshot:
        text, reasoning = self._streams["text"].snapshot(), self._streams["reasoning"].snapshot()
        return Snapshot(self.seq, text, reasoning, self._tools.snapshot())

    def answered(self, call_id: str) -> str:
        """A call that asked asks no more: its block for whoever answered; who opens the page finds it so, too."""
        return self._tools.answered(call_id)

    async def paint(self, readers: Readers, actor: Actor) -> None:
        """Follow the turn to its end."""
        try:
            async for batch in readers.follow(actor, self.turn, 0):
                self._take(batch)
                pause = PAINT_EVERY_S - (monotonic_s() - self._painted_s)
                self._painted_s = monotonic_s()
                if pause > 0 and not self.is_ended:
                    await asyncio.sleep(pause)
                    self._painted_s = monotonic_s()
        finally:
            self.is_ended = True
            self._news.tell()

    def _take(self, batch: list[Numbered]) -> None:
        steps: list[tuple[str, Op]] = []
        texts: dict[str, list[str]] = {}
        ended = False
        for _, delta in batch:
            if isinstance(delta, TextDelta):
                texts.setdefault("text", []).append(delta.text)
            elif isinstance(delta, ReasoningDelta):
                texts.setdefault("reasoning", []).append(delta.text)
            elif isinstance(delta, ResetDelta):
                texts.clear()
                self._streams = self._begin()
                for part, text in (("reasoning", delta.reasoning), ("text", delta.text)):
                    self._streams[part].feed(text)
                    steps.append((part, Op("reset", _frame(*self._streams[part].snapshot()))))
            elif isinstance(delta, ToolCallDelta):
                steps += [("tools", op) for op in self._tools.begin(delta)]
            elif isinstance(delta, ToolResultDelta):
                steps += [("tools", op) for op in self._tools.end(delta)]
            elif isinstance(delta, EndDelta):
                ended = True
        for part, pieces in texts.items():
            steps.extend((part, op) for op in self._streams[part].feed("".join(pieces)))
        before, self.seq = self.seq, batch[-1][0]
        html = "".join(fragment(self.turn, self.seq, op.kind, op.html, part) for part, op in steps)
        if html:
            self._fragments.append((before, self.seq, html))
        elif self._fragments and not ended:
            first, _, last = self._fragments.pop()
            self._fragments.append((first, self.seq, last))
        self.is_ended = ended
        self._news.tell()

    def since(self, seq: int) -> tuple[int, str]:
        """What brings a page from `seq` to now, and the number it then has: steps, or the whole when they are gone."""
        if seq >= self.seq:
            return self.seq, ""
        steps = []
        joined = False
        for before, after, html in self._fragments:
            if before == seq:
                joined = True
            if joined and after > seq:
                steps.append(html)
        if joined or (seq == 0 and not self._fragments):
            return self.seq, "".join(steps)
        whole = self.snapshot()
        parts = {
            "reasoning": (whole.reasoning_done, whole.reasoning_open),
            "tools": (whole.tools_done, whole.tools_open),
            "text": (whole.text_done, whole.text_open),
        }
        steps = [fragment(self.turn, self.seq, "reset", _frame(*seen), part) for part, seen in parts.items()]
        return self.seq, "".join(steps)

    async def wait(self) -> None:
        await self._news.wait()


def _frame(done: str, open_: str) -> str:
    return f"<div data-done>{done}</div><div data-open>{open_}</div>"


class Painters:
    """The paintings of this node, by turn; one is kept while somebody watches or the turn runs."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._paintings: dict[str, Painting] = {}

    async def open(self, actor: Actor, turn: Turn) -> Painting:
        """The painting of a turn of this actor's, begun if need be."""
        painting = self._paintings.get(turn.id)
        if painting is None:
            above = await self._readers.text_above(actor, turn)
            painting = self._paintings.get(turn.id)
        if painting is None:
            painting = self._paintings[turn.id] = Painting(turn, above)
            painting.task = asyncio.create_task(painting.paint(self._readers, actor), name=f"paint {turn.id}")
            painting.task.add_done_callback(lambda _: self._forget(turn.id))
        return painting

    def answered(self, turn_id: str, call_id: str) -> str:
        """Somebody said something to a tool that asked: its block as it is now, '' when it is not painted here."""
        painting = self._paintings.get(turn_id)
        return painting.answered(call_id) if painting is not None else ""

    def _forget(self, turn_id: str) -> None:
        self._paintings.pop(turn_id, None)

    async def stop(self) -> None:
        tasks = [painting.task for painting in self._paintings.values() if painting.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
