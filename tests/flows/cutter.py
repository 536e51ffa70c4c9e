"""A TCP proxy that cuts: each connection lives for a number of bytes drawn by chance, then dies without a word."""

from __future__ import annotations

import asyncio
import random
from types import TracebackType


class Cutter:
    """Listens on `port` and passes bytes on to the target. longest_bytes: what a connection may carry back at most."""

    def __init__(self, target_port: int, chance: random.Random, longest_bytes: int) -> None:
        self._target_port = target_port
        self._chance = chance
        self._longest = longest_bytes
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0
        self.port = 0

    async def __aenter__(self) -> Cutter:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        left = self._chance.randint(700, self._longest)

        async def up() -> None:
            while data := await reader.read(65536):
                upstream_writer.write(data)
                await upstream_writer.drain()

        async def down() -> None:
            nonlocal left
            while data := await upstream_reader.read(self._chance.randint(1, 4096)):
                writer.write(data[:left])
                left -= len(data)
                if left <= 0:
                    self.cuts += 1
                    await writer.drain()
                    writer.transport.abort()
                    return
                await writer.drain()

        going = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in going:
                one.cancel()
            await asyncio.gather(*going, return_exceptions=True)
            for one in (writer, upstream_writer):
                one.transport.abort()
