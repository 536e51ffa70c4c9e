"""Hand committed events from the outbox to the plugins that want them, at least once, each plugin on its own."""

from __future__ import annotations

import asyncio

import structlog

from chatserver.clock import now_us
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

    def wake(self) -> None:
        """Something was committed; do not wait for the next look."""
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
        """Deliver what is due; returns how many events were looked at. While nobody listens, events wait."""
        if not self._plugins.has("handle_event"):
            return 0
        claimed = await self._db.write(lambda tx: outbox.claim(tx, now=now_us(), limit=BATCH))
        if not claimed:
            return 0
        failed: set[int] = set()
        handled: dict[int, list[str]] = {}
        for one in claimed:
            results = await self._plugins.notify_each("handle_event", skip=one.delivered, delivery=one.delivery)
            handled[one.delivery.seq] = [name for name, is_well in results.items() if is_well]
            if not all(results.values()):
                failed.add(one.delivery.seq)

        def record(tx: Tx) -> None:
            now = now_us()
            for one in claimed:
                seq = one.delivery.seq
                outbox.mark_delivered(tx, seq, handled.get(seq, ()), now=now)
                if seq not in failed:
                    outbox.finish(tx, seq, now=now)
                elif not outbox.retry(tx, one, now=now):
                    log.error("event_parked", seq=seq, name=one.delivery.event.__struct_config__.tag)

        await self._db.write(record, essential=True)
        return len(claimed)
