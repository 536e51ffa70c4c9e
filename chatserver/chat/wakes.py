"""Wake-ups between nodes: readers hear that a turn elsewhere went on, and the node that runs one that it is to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType

from chatserver.domain.buses import Bus, Wake

POLL_S = 0.25
POLL_BESIDE_BUS_S = 1.0
"""How often a reader looks into the database by himself: a lost wake-up costs him this much."""
STOP = 0
LOOK = 1


class MemoryBus:
    """A bus for several houses in one process."""

    def __init__(self) -> None:
        self._hear: list[Callable[[Sequence[Wake]], None]] = []

    def send(self, wakes: Sequence[Wake]) -> None:
        for hear in self._hear:
            hear(wakes)

    def listen(self, hear: Callable[[Sequence[Wake]], None]) -> None:
        self._hear.append(hear)

    async def close(self) -> None:
        self._hear.clear()


class Watch:
    """A reader's ear on one turn, while it is entered."""

    def __init__(self, wakes: Wakes, turn_id: str) -> None:
        self._wakes = wakes
        self._turn_id = turn_id
        self.news = asyncio.Event()

    def __enter__(self) -> Watch:
        self._wakes.watches.setdefault(self._turn_id, set()).add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        left = self._wakes.watches.get(self._turn_id, set())
        left.discard(self)
        if not left:
            self._wakes.watches.pop(self._turn_id, None)

    async def wait(self) -> None:
        """Until something is heard, or it is time to look anyhow. What was heard since the last wait counts."""
        try:
            async with asyncio.timeout(self._wakes.poll_s):
                await self.news.wait()
        except TimeoutError:
            return
        finally:
            self.news.clear()


class Wakes:
    """bus None: nobody else runs turns of this database, and nothing is told. stop: asked to look for turns to stop."""

    def __init__(self, bus: Bus | None, look_for_stops: Callable[[], None]) -> None:
        self._bus = bus
        self._look_for_stops = look_for_stops
        self.poll_s = POLL_S if bus is None else POLL_BESIDE_BUS_S
        self.watches: dict[str, set[Watch]] = {}
        if bus is not None:
            bus.listen(self._hear)

    def stored(self, wakes: Iterable[Wake]) -> None:
        """Tell that turns of this node have new events in the database, the newest numbered so."""
        if self._bus is not None and (listed := list(wakes)):
            self._bus.send(listed)

    def stop(self, turn_id: str) -> None:
        """Tell whoever runs this turn that it is to stop; the wish itself is in the database."""
        if self._bus is not None:
            self._bus.send([(turn_id, STOP)])

    def tell(self, turn_id: str) -> None:
        """Wake whoever waits for this turn, here and elsewhere, to look into the database."""
        self._hear([(turn_id, LOOK)])
        self.stored([(turn_id, LOOK)])

    def watch(self, turn_id: str) -> Watch:
        return Watch(self, turn_id)

    def _hear(self, wakes: Sequence[Wake]) -> None:
        for turn_id, seq in wakes:
            if seq == STOP:
                self._look_for_stops()
            for watch in self.watches.get(turn_id, ()):
                watch.news.set()
