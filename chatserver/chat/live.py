"""The turns that run on this node: their deltas in memory, numbered, and the readers who wait for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from chatserver.chat.news import News
from chatserver.clock import monotonic_s
from chatserver.domain.prompts import PromptRecord, Texts
from chatserver.domain.turns import Delta, EndDelta, ReasoningDelta, Turn, piece_end

Numbered = tuple[int, Delta]
KeptPrompt = tuple[PromptRecord, Texts]


class LiveTurn:
    """A running turn's deltas: the first is number 1, `last_seq` the newest, `stored_seq` the newest in the database.

    prompt: what was sent, once it was; it is stored with the first deltas. Readers wait on one shared future, so that a
    delta costs the same for one reader and for fifty.
    """

    __slots__ = (
        "_news",
        "_thinks_since_s",
        "_thinks_until_s",
        "deltas",
        "ended",
        "first_token_at",
        "is_ending",
        "prompt",
        "stop_requested",
        "stored_seq",
        "task",
        "turn",
    )

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self.deltas: list[Delta] = []
        self.stored_seq = 0
        self.ended = False
        self.is_ending = False
        self.stop_requested = False
        self.task: asyncio.Task[None] | None = None
        self.first_token_at: int | None = None
        self.prompt: KeptPrompt | None = None
        self._thinks_since_s = 0.0
        self._thinks_until_s = 0.0
        self._news = News()

    @property
    def last_seq(self) -> int:
        return len(self.deltas)

    def publish(self, delta: Delta) -> None:
        """Hand a delta to the readers at once; storing it is the flusher's work."""
        self.deltas.append(delta)
        if isinstance(delta, ReasoningDelta):
            self._thinks_since_s = self._thinks_since_s or monotonic_s()
        elif self._thinks_since_s and not self._thinks_until_s:
            self._thinks_until_s = monotonic_s()
        self._news.tell()

    @property
    def reasoning_ms(self) -> int:
        """How long it thought before its first word; until now when it still thinks."""
        if not self._thinks_since_s:
            return 0
        return int(((self._thinks_until_s or monotonic_s()) - self._thinks_since_s) * 1000)

    def end(self, delta: EndDelta) -> None:
        """The turn's end, published after it was committed. Nothing follows."""
        self.deltas.append(delta)
        self.ended = True
        self._news.tell()

    def abandon(self) -> None:
        """Somebody else ended this turn: readers are sent back to the database."""
        self.ended = True
        self._news.tell()

    def unstored(self) -> Sequence[Delta]:
        return self.deltas[self.stored_seq :]

    async def follow(self, after: int) -> AsyncIterator[list[Numbered]]:
        """Batches of numbered deltas above `after`, until the end. Readers come and go; the turn does not notice."""
        position = after
        while True:
            if position < len(self.deltas):
                until = piece_end(self.deltas, position)
                batch = [(number + 1, self.deltas[number]) for number in range(position, until)]
                position = until
                yield batch
            elif self.ended:
                return
            else:
                await self.wait()

    async def wait(self) -> None:
        """Sleep until the next delta or the end."""
        await self._news.wait()


class Live:
    """All turns that run on this node, by id."""

    def __init__(self) -> None:
        self._turns: dict[str, LiveTurn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    def open(self, turn: Turn) -> LiveTurn:
        live = self._turns[turn.id] = LiveTurn(turn)
        return live

    def get(self, turn_id: str) -> LiveTurn | None:
        return self._turns.get(turn_id)

    def close(self, turn_id: str) -> None:
        self._turns.pop(turn_id, None)

    def running(self) -> list[LiveTurn]:
        return list(self._turns.values())
