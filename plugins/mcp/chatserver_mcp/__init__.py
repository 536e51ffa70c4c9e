"""MCP: tools of servers over HTTP, switched on chat by chat. One object of this class per server of ours."""

from __future__ import annotations

from chatserver import (
    Context,
    Migration,
    NavItem,
    PageFiles,
    Route,
    SendRequest,
    Setting,
    SlotContext,
    Tool,
    ToolUse,
    hookimpl,
)
from chatserver import gettext as _
from chatserver_mcp.choosing import Choosing
from chatserver_mcp.offering import Offering
from chatserver_mcp.pages import Pages
from chatserver_mcp.servers import SETTINGS, read_servers
from chatserver_mcp.shelf import ServerShelf
from chatserver_mcp.tables import MIGRATIONS


class Mcp:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.stored = ServerShelf()
        self.offering = Offering(self.stored)
        self.choosing = Choosing(self.offering)
        self.pages = Pages(self.offering)

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return SETTINGS

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_routes(self) -> list[Route]:
        return self.pages.routes()

    @hookimpl
    async def admin_pages(self) -> list[NavItem]:
        return [NavItem(_("Tool servers"), "/x/mcp/", "puzzle")]

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [self.choosing.files]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.stored.open(ctx)
        await self.offering.open(ctx, read_servers(str(ctx.settings["servers"]), ctx.secret("tokens") or ""))
        self.choosing.open(ctx)

    @hookimpl
    async def shutdown(self) -> None:
        await self.offering.close()

    @hookimpl
    async def prepare_send(self, request: SendRequest) -> SendRequest | None:
        await self.offering.look()
        return self.choosing.complete(request)

    @hookimpl
    async def offer_tools(self, use: ToolUse) -> list[Tool]:
        return await self.offering.offer(self.choosing.chosen(use.fields))

    @hookimpl(slots=("composer.tools",))
    async def render_slot(self, context: SlotContext) -> str | None:
        if context.slot != "composer.tools":
            return None
        await self.offering.look()
        return self.choosing.render(context)
