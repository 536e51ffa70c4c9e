"""MCP: tools of servers over HTTP, switched on chat by chat. One object of this class per server of ours."""

from __future__ import annotations

from chatserver import Context, PageFiles, SendRequest, Setting, SlotContext, Tool, ToolUse, hookimpl
from chatserver_mcp.choosing import Choosing
from chatserver_mcp.offering import Offering
from chatserver_mcp.servers import SETTINGS, read_servers


class Mcp:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.offering = Offering()
        self.choosing = Choosing(self.offering)

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return SETTINGS

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [self.choosing.files]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.offering.open(ctx, read_servers(str(ctx.settings["servers"]), ctx.secret("tokens") or ""))
        self.choosing.open(ctx)

    @hookimpl
    async def shutdown(self) -> None:
        await self.offering.close()

    @hookimpl
    async def prepare_send(self, request: SendRequest) -> SendRequest | None:
        return self.choosing.complete(request)

    @hookimpl
    async def offer_tools(self, use: ToolUse) -> list[Tool]:
        return await self.offering.offer(self.choosing.chosen(use.fields))

    @hookimpl
    async def render_slot(self, context: SlotContext) -> str | None:
        return self.choosing.render(context) if context.slot == "composer.tools" else None
