"""The tools of the servers a chat switched on, as the core takes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from chatserver import Actor, BadInput, ChatserverError, Context, SetupError, Tool, ToolOutcome, ToolSpec, ToolUse
from chatserver import gettext as _
from chatserver_mcp.connection import Connection
from chatserver_mcp.protocol import DESCRIPTION_CHARS, SCHEMA_MAX_BYTES, RemoteTool, encode, to_outcome
from chatserver_mcp.servers import SERVERS_MAX, ServerAddress
from chatserver_mcp.shelf import ServerShelf

KNOWN_S = 60.0
"""How long a list of tools is taken for true."""
LOOK_S = 3.0
"""How often a node asks whether another changed the servers; a change holds everywhere within five seconds."""
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

    def __init__(self, stored: ServerShelf) -> None:
        self.connections: dict[str, Connection] = {}
        self.written: dict[str, ServerAddress] = {}
        self._stored = stored
        self._looked_until_s = 0.0
        self._shelves: dict[str, Shelf] = {}
        self._asking: dict[str, asyncio.Lock] = {}
        self._goodbyes: set[asyncio.Task[None]] = set()

    async def open(self, ctx: Context, written: Sequence[ServerAddress]) -> None:
        """written: those of the file or the environment; they win over one of the same name in the database."""
        self._log, self._clock, self._http = ctx.log, ctx.clock, ctx.http
        self.written = {one.name: one for one in written}
        await self._reload()

    async def look(self) -> None:
        """Take over what was added or taken away, also on another node."""
        if self._clock.monotonic_s() < self._looked_until_s:
            return
        try:
            await self._reload()
        except SetupError as error:  # another node has another secret key; what this one knows still holds
            self._log.warning("mcp_token_sealed_otherwise", reason=error.message)

    async def add(self, actor: Actor, server: ServerAddress) -> None:
        """Raises Unavailable when its tools cannot be listed, BadInput when its name is taken."""
        if server.name in self.written:
            raise BadInput(_("The configuration has a server of this name already."), code="taken", status=422)
        trial = Connection(server, self._http)
        try:
            await trial.tools()
        finally:
            await trial.close()
        await self._stored.add(actor, server, SERVERS_MAX)
        await self._reload()

    async def remove(self, actor: Actor, name: str) -> None:
        """Raises NotFound. One of the configuration is not there to be taken away."""
        await self._stored.remove(actor, name)
        await self._reload()

    async def test(self, name: str) -> list[RemoteTool]:
        """What it offers now. Raises Unavailable with a sentence."""
        self._shelves.pop(name, None)
        return await self.connections[name].tools()

    async def _reload(self) -> None:
        self._looked_until_s = self._clock.monotonic_s() + LOOK_S
        wanted = {**{one.name: one for one in await self._stored.all()}, **self.written}
        old = self.connections
        self.connections = {
            name: old[name] if name in old and old[name].address == one else Connection(one, self._http)
            for name, one in wanted.items()
        }
        for name, connection in old.items():
            if self.connections.get(name) is not connection:
                self._shelves.pop(name, None)
                self._asking.pop(name, None)
                self._say_goodbye(connection)

    def _say_goodbye(self, connection: Connection) -> None:
        """Tell a server that is gone from here that its session is over. Nobody waits for what it says to that."""
        task = asyncio.ensure_future(connection.close())
        self._goodbyes.add(task)
        task.add_done_callback(self._goodbyes.discard)

    async def close(self) -> None:
        open_ones = [one.close() for one in self.connections.values()]
        await asyncio.gather(*open_ones, *self._goodbyes, return_exceptions=True)

    async def offer(self, names: Sequence[str]) -> list[Tool]:
        """The tools of these servers. A server that cannot be asked has none, and the log says why."""
        await self.look()
        lists = await asyncio.gather(*(self._tools_of(name) for name in names if name in self.connections))
        return [tool for tools in lists for tool in tools]

    async def _tools_of(self, name: str) -> list[McpTool]:
        async with self._asking.setdefault(name, asyncio.Lock()):
            shelf = self._shelves.get(name)
            if shelf is not None and self._clock.monotonic_s() < shelf.until_s:
                return shelf.tools
            connection = self.connections.get(name)
            if connection is None:  # taken away meanwhile
                return []
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
