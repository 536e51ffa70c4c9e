"""The tools of the servers a chat switched on, as the core takes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from chatserver import ChatserverError, Context, Tool, ToolOutcome, ToolSpec, ToolUse
from chatserver_mcp.connection import Connection
from chatserver_mcp.protocol import DESCRIPTION_CHARS, SCHEMA_MAX_BYTES, RemoteTool, encode, to_outcome
from chatserver_mcp.servers import ServerAddress

KNOWN_S = 60.0
"""How long a list of tools is taken for true."""
TOOLS_PER_SERVER = 64
NAME_CHARS = 64
_ODD = re.compile(r"[^A-Za-z0-9_-]")


class McpTool:
    """Implements the core's Tool. Whatever does not say that it only reads asks first."""

    def __init__(self, connection: Connection, remote: RemoteTool, name: str) -> None:
        self._connection = connection
        self._remote = remote
        self.needs_consent = not remote.is_read_only
        schema = remote.input_schema if remote.input_schema.get("type") == "object" else {"type": "object"}
        self.spec = ToolSpec(name, (remote.description or "")[:DESCRIPTION_CHARS], schema)

    async def call(self, arguments: dict[str, Any], use: ToolUse) -> ToolOutcome:
        return to_outcome(await self._connection.call(self._remote.name, arguments))


class Shelf(msgspec.Struct):
    """What a server had when it was asked last; until_s on the monotonic clock."""

    tools: list[McpTool]
    until_s: float


class Offering:
    """One connection a server, and the tools it told of."""

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self._shelves: dict[str, Shelf] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    def open(self, ctx: Context, servers: Sequence[ServerAddress]) -> None:
        self._log, self._clock = ctx.log, ctx.clock
        self.connections = {one.name: Connection(one, ctx.http) for one in servers}
        self._asking = {one.name: asyncio.Lock() for one in servers}

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in self.connections.values()), return_exceptions=True)

    async def offer(self, names: Sequence[str]) -> list[Tool]:
        """The tools of these servers. A server that cannot be asked has none, and the log says why."""
        lists = await asyncio.gather(*(self._tools_of(name) for name in names if name in self.connections))
        return [tool for tools in lists for tool in tools]

    async def _tools_of(self, name: str) -> list[McpTool]:
        async with self._asking[name]:
            shelf = self._shelves.get(name)
            if shelf is not None and self._clock.monotonic_s() < shelf.until_s:
                return shelf.tools
            connection = self.connections[name]
            try:
                remote = await connection.tools()
            except ChatserverError as error:
                self._log.warning("mcp_server_silent", server=name, reason=error.message)
                return []
            tools = _named(connection, remote)
            self._shelves[name] = Shelf(tools, self._clock.monotonic_s() + KNOWN_S)
            return tools


def _named(connection: Connection, remote: Sequence[RemoteTool]) -> list[McpTool]:
    """As many as are taken, each with a name that every vendor takes and no other has."""
    taken: dict[str, McpTool] = {}
    for one in remote[:TOOLS_PER_SERVER]:
        name = f"{connection.address.name}__{_ODD.sub('_', one.name)}"[:NAME_CHARS]
        if name not in taken and len(encode(one.input_schema)) <= SCHEMA_MAX_BYTES:
            taken[name] = McpTool(connection, one, name)
    return list(taken.values())
