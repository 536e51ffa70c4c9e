"""The console's page of tool servers: what there is, adding one once it has answered, trying one, taking one away."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from chatserver import BadInput, ChatserverError, NotFound, PageAnswer, PageVisit, Route, list_text
from chatserver import gettext as _
from chatserver_mcp.offering import Offering
from chatserver_mcp.servers import NAME, ServerAddress

POST = ("POST",)
ADMIN = "admin.console"
HERE = "/x/mcp/"
URL_CHARS = 300
TOKEN = re.compile(r"[\x21-\x7e]{0,2000}")


class Pages:
    def __init__(self, offering: Offering) -> None:
        self._offering = offering

    def routes(self) -> list[Route]:
        return [
            Route("/", page=self.show, permission=ADMIN),
            Route("/", page=self.add, methods=POST, permission=ADMIN),
            Route("/{server}/test", page=self.test, methods=POST, permission=ADMIN, is_light=True),
            Route("/{server}/remove", page=self.remove, methods=POST, permission=ADMIN),
        ]

    async def show(self, visit: PageVisit) -> PageAnswer:
        return await self._page(visit)

    async def add(self, visit: PageVisit) -> PageAnswer:
        """Kept once its tools could be listed: a slip of the pen shows at once, and not in somebody's chat."""
        server = ServerAddress(
            visit.form.get("name", "").strip(), visit.form.get("url", "").strip(), visit.form.get("token", "").strip()
        )
        try:
            check_server(server)
            await self._offering.add(visit.actor, server)
        except ChatserverError as problem:
            return await self._page(visit, typed=server, problem=problem, status=422)
        return visit.go(HERE)

    async def test(self, visit: PageVisit) -> PageAnswer:
        name = visit.path["server"]
        await self._offering.look()
        if name not in self._offering.connections:
            raise NotFound
        try:
            tools = await self._offering.test(name)
        except ChatserverError as problem:
            return await self._page(visit, problem=problem)
        names = list_text([one.name for one in tools]) or "–"
        return await self._page(visit, news=_("{name} answered. Its tools: {tools}").format(name=name, tools=names))

    async def remove(self, visit: PageVisit) -> PageAnswer:
        await self._offering.remove(visit.actor, visit.path["server"])
        return visit.go(HERE)

    async def _page(
        self,
        visit: PageVisit,
        *,
        typed: ServerAddress | None = None,
        news: str = "",
        problem: Exception | None = None,
        status: int = 0,
    ) -> PageAnswer:
        await self._offering.look()
        return await visit.page(
            "servers.html",
            news=news,
            problem=problem,
            status=status,
            typed=typed or ServerAddress("", ""),
            servers=[
                (name, place_of(one.address.url), bool(one.address.token), name in self._offering.written)
                for name, one in self._offering.connections.items()
            ],
        )


def check_server(server: ServerAddress) -> None:
    """Raises BadInput, status 422."""
    if not NAME.fullmatch(server.name):
        raise BadInput(
            _("A name begins with a small letter and has small letters, digits and dashes, at most 24."),
            code="bad_name",
            status=422,
        )
    try:
        parts = urlsplit(server.url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", server.url)
        is_address = is_address and parts.username is None and parts.password is None and len(server.url) <= URL_CHARS
    except ValueError:
        is_address = False
    if not is_address:
        raise BadInput(
            _("The address begins with http:// or https:// and has no user name in it; a token has its own field."),
            code="bad_url",
            status=422,
        )
    if not TOKEN.fullmatch(server.token):
        raise BadInput(
            _("A token has neither blanks nor letters beyond ASCII. Copy it once more."), code="bad_token", status=422
        )


def place_of(url: str) -> str:
    """Without the query, which may hold a secret."""
    return url.partition("?")[0]
