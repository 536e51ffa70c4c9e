"""The servers an admin added, each token sealed together with the address it is for."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver import Actor, BadInput, Context, NotFound, Tx
from chatserver import gettext as _
from chatserver_mcp.servers import ServerAddress

ALL = "SELECT name, url, sealed_token, made_at FROM mcp_servers ORDER BY made_at, name"


class ServerRow(msgspec.Struct, frozen=True):
    """sealed_token: '' where none is wanted."""

    name: str
    url: str
    sealed_token: str
    made_at: int


class ServerShelf:
    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def all(self) -> list[ServerAddress]:
        """Raises SetupError when a token cannot be opened with this server's secret key."""
        return [self._opened(row) for row in await self._rows()]

    async def add(self, actor: Actor, server: ServerAddress, limit: int) -> None:
        """Raises BadInput when the name is taken, or there are so many already."""
        sealed = self._ctx.vault.seal(server.token, _place(server.name, server.url)) if server.token else ""
        row = ServerRow(server.name, server.url, sealed, self._ctx.clock.now_us())

        def insert(tx: Tx) -> int:
            if len(tx.all(ServerRow, ALL)) >= limit:
                return 0
            return tx.run(
                "INSERT INTO mcp_servers (name, url, sealed_token, made_at)"
                " VALUES (:name, :url, :sealed_token, :made_at) ON CONFLICT (name) DO NOTHING",
                **msgspec.structs.asdict(row),
            )

        place = server.url.partition("?")[0]
        if not await self._ctx.audit.write(insert, actor, "server_added", server.name, url=place):
            raise BadInput(
                _("There is a server of this name already, or there are as many as are read."), code="taken", status=422
            )

    async def remove(self, actor: Actor, name: str) -> None:
        def delete(tx: Tx) -> int:
            return tx.run("DELETE FROM mcp_servers WHERE name = :name", name=name)

        if not await self._ctx.audit.write(delete, actor, "server_removed", name):
            raise NotFound

    async def _rows(self) -> Sequence[ServerRow]:
        return await self._ctx.db.read(lambda tx: tx.all(ServerRow, ALL))

    def _opened(self, row: ServerRow) -> ServerAddress:
        place = _place(row.name, row.url)
        token = self._ctx.vault.open(row.sealed_token, place) if row.sealed_token else ""
        return ServerAddress(row.name, row.url, token)


def _place(name: str, url: str) -> str:
    """What a token is bound to: it is sent to the address it was stored with, and to no other."""
    return f"{name} {url}"
