"""Tell the admins before the disk is full, and that there is room again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatserver.chat.gauges import free_bytes
from chatserver.chat.notices import Board
from chatserver.domain.extend import JobSpec

LOW_BYTES = 512_000_000
ENOUGH_BYTES = 768_000_000
"""Only here is it over: a notice that comes and goes by the minute tells nobody anything."""
EVERY_S = 300


class DiskWatch:
    """One periodic job; of several machines it looks at the one where it runs."""

    def __init__(self, board: Board, folder: Path) -> None:
        self._board = board
        self._folder = folder

    def job(self) -> JobSpec:
        return JobSpec("disk", self.run, every_s=EVERY_S, lease_s=60)

    async def run(self, payload: dict[str, Any]) -> None:
        free = free_bytes(self._folder)
        if not isinstance(free, int):
            return
        if free < LOW_BYTES:
            await self._board.tell(
                "disk",
                "The disk of the data folder is nearly full. Make room, or move the data folder to a larger one:"
                " when it is full, nothing new is taken.",
            )
        elif free > ENOUGH_BYTES:
            await self._board.clear("disk")
