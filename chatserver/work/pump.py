"""Hand committed events from the outbox to the plugins that want them, at least once, each plugin on its own."""

from __future__ import annotations

import asyncio

import structlog

from chatserver.clock import now_us
from chatserver.domain.events import EVENT_NAMES, Event, name_of_event
from chatserver.plugins import Plugins
from chatserver.store import outbox
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.pump")

IDLE_S = 5.0
BATCH = 50


class Pump:
    """One a node; several nodes share the work by claims with a lease."""

    def __init__(self, db: Database, plugins: Plugins) -> None:
        self._db = db
        self._plugins = plugins
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_pumping(), name="pump")

    def wake(self, *events: type[Event]) -> None:
        """Events of these kinds were committed, of any if none is named: do not wait for the next look, unless nobody
        listens."""
        if not events or any(self._plugins.wants(name_of_event(event)) for event in events):
            self._news.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep_pumping(self) -> None:
        while True:
            self._news.clear()
            try:
                pumped = await self.pump_once()
            except Exception as error:  # a loop of the house outlives its surprises
                log.error("outbox_not_read", reason=error)
                pumped = 0
            if not pumped:
                try:
                    async with asyncio.timeout(IDLE_S):
                        await self._news.wait()
                except TimeoutError:
                    continue

    async def pump_once(self) -> int:
        """Deliver what is due; returns how many events were looked at. While nobody listens to any, events wait; else
        those that nobody wants are done."""
        if not self._plugins.has("handle_event"):
            return 0
        unwanted = [name for name in EVENT_NAMES if not self._plugins.wants(name)]

        def claim(tx: Tx) -> list[outbox.Claimed]:
            now = now_us()
            if unwanted:
                outbox.pass_over(tx, unwanted, now=now)
            return outbox.claim(tx, now=now, limit=BATCH)

        claimed = await self._db.write(claim)
        if not claimed:
            return 0
        failed: set[int] = set()
        handled: dict[int, list[str]] = {}
        for one in claimed:
            results = await self._plugins.deliver(one.delivery, skip=one.delivered)
            handled[one.delivery.seq] = [name for name, is_well in results.items() if is_well]
            if not all(results.values()):
                failed.add(one.delivery.seq)

        def record(tx: Tx) -> None:
            now = now_us()
            for one in claimed:
                seq = one.delivery.seq
                if seq not in failed:
                    outbox.finish(tx, seq, now=now)
                    continue
                outbox.mark_delivered(tx, seq, handled.get(seq, ()), now=now)
                if not outbox.retry(tx, one, now=now):
                    log.error("event_parked", seq=seq, name=name_of_event(one.delivery.event))

        await self._db.write(record, essential=True)
        return len(claimed)
