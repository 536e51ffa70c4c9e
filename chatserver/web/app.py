"""The app: every room of the web behind one door."""

from __future__ import annotations

import platform
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Router, asgi
from litestar.datastructures import State
from litestar.routes import HTTPRoute

import chatserver
from chatserver import words
from chatserver.errors import NotFound
from chatserver.house import House
from chatserver.web import (
    api,
    assets,
    auth,
    errors,
    extensions,
    health,
    installing,
    markdown,
    openapi,
    pages,
    proving,
    templating,
)
from chatserver.web.door import Door
from chatserver.web.painter import Painters
from chatserver.web.siblings import Siblings
from chatserver.web.streams import Streams
from chatserver.web.turns import PageEvents, TurnEvents

PAGE_EVENTS = "/events"
TURN_EVENTS = "/api/turns/{turn_id}/events"
STREAMS = (PAGE_EVENTS, TURN_EVENTS)
"""Routes that Litestar does not know of; both answer GET only."""
_TURN_EVENTS = re.compile(r"/api/turns/([^/]+)/events")


def create_app(house: House, siblings: Siblings | None = None) -> Litestar:
    """The ASGI app over a house. Its lifespan starts and stops the streams; the house is started by who made it.
    siblings: the other processes of this server, if there are any.

    `app.state` holds house, door, streams, sign_in, proofs and description. Every route wants somebody signed in but
    those with `opt={"public": True}`.
    """
    for folder in house.plugins.folders():
        if (folder / "locale").is_dir():
            words.add_catalogues(folder / "locale")
    templating.install_themes([theme for _, theme in house.plugins.brought("register_themes")])
    for plugin, files in house.plugins.brought("register_pages"):
        templating.install_pages(plugin, files)
    house.press.set_up(templating.render, assets.url, lambda text: markdown.in_words(markdown.render(text)))
    streams = Streams(house.accounts.still_valid, per_account=lambda: house.limits["streams_per_account"])
    build = {"version": chatserver.__version__, "python": platform.python_version(), "engine": house.db.engine}
    house.meters.gauge("chatserver_build_info", "1; what runs here is in the labels", lambda: [(build, 1)])
    house.meters.gauge("chatserver_streams_open", "Event streams that are open on this node", lambda: len(streams))
    turn_events = TurnEvents(house, streams)
    painters = Painters(house.readers)
    page_events = PageEvents(house, streams, painters)
    plugin_routes = extensions.Extensions(house)

    @asgi("/static", is_mount=True, opt={"public": True}, copy_scope=True)
    async def serve_static(scope: Any, receive: Any, send: Any) -> None:
        _only_get(scope, head=True)
        await send_static(scope, send)

    @asgi("/x", is_mount=True, opt={"public": True}, copy_scope=True)
    async def serve_extensions(scope: Any, receive: Any, send: Any) -> None:
        await plugin_routes(scope, receive, send)

    @asynccontextmanager
    async def watch_streams(app: Litestar) -> AsyncIterator[None]:
        streams.start()
        if siblings is not None:
            await siblings.start(house.meters.families)
        try:
            yield
        finally:
            if siblings is not None:
                await siblings.stop()
            await streams.stop()
            await painters.stop()

    app = Litestar(
        route_handlers=[
            api.api,
            Router("/", route_handlers=list(pages.route_handlers), include_in_schema=False),
            auth.router,
            health.router,
            installing.router,
            openapi.show_description,
            serve_static,
            serve_extensions,
        ],
        guards=[auth.require_actor],
        exception_handlers={Exception: errors.handle_exception},
        lifespan=[watch_streams],
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,  # the door has measured it
    )
    handle = app.asgi_handler
    methods = {
        re.sub(r":\w+", "", one.path): sorted(errors.with_head(one.methods))
        for one in app.routes
        if isinstance(one, HTTPRoute)
    }
    plugin_routes.check(one.path for one in app.routes)

    async def require_chat(scope: Any) -> None:
        if scope["state"]["actor"] is not None:  # nobody is refused by the stream itself
            await house.permissions.require(scope["state"]["actor"], "chat.use")

    async def route(scope: Any, receive: Any, send: Any) -> None:
        """The streams of tokens go round Litestar: it has no path parameters for raw ASGI, and costs twice as much."""
        if scope["path"] == PAGE_EVENTS:
            _only_get(scope)
            await require_chat(scope)
            await page_events.serve(scope, receive, send)
        elif found := _TURN_EVENTS.fullmatch(scope["path"]):
            _only_get(scope)
            await require_chat(scope)
            await turn_events.serve(scope, receive, send, found[1])
        elif plugin_routes.owns(scope["path"]):
            await plugin_routes.serve_public(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await handle(scope, receive, _telling_methods(scope, methods, send))
        else:
            await handle(scope, receive, send)

    door = Door(route, house)
    door.takes_files = plugin_routes.takes_files
    door.endpoints.check((*(one.path for one in app.routes), PAGE_EVENTS), plugin_routes.owns)
    app.asgi_handler = door  # type: ignore[assignment]
    desk = auth.SignIn(house.accounts, door, lambda: house.limits["sign_ins_per_quarter_hour"])
    proofs = door.proofs = proving.Proofs(house, desk)
    app.state = State(
        {
            "house": house,
            "door": door,
            "streams": streams,
            "siblings": siblings,
            "painters": painters,
            "extensions": plugin_routes,
            "sign_in": desk,
            "proofs": proofs,
            "description": openapi.Description([api.api], chatserver.__version__),
        }
    )
    return app


def _telling_methods(scope: Any, methods: Mapping[str, list[str]], send: Any) -> Any:
    """Litestar's answer to OPTIONS with all of a path's methods: it names those of one handler."""

    async def tell(message: Any) -> None:
        allowed = methods.get(str(scope.get("path_template", "")))
        if message["type"] == "http.response.start" and message["status"] == 204 and allowed:
            kept = [(name, value) for name, value in message["headers"] if name.lower() != b"allow"]
            message = {**message, "headers": [*kept, (b"allow", ", ".join(allowed).encode())]}
        await send(message)

    return tell


async def send_static(scope: dict[str, Any], send: Any) -> None:
    """A file at its hashed address, kept by browsers for ever. Raises NotFound."""
    parts = scope["state"]["path"].removeprefix("/static/").split("/", 2)
    found = assets.find(*parts) if len(parts) == 3 else None
    if found is None:
        raise NotFound
    body = found.body
    headers = [
        (b"content-type", found.media_type.encode()),
        (b"cache-control", assets.IMMUTABLE.encode()),
        (b"vary", b"accept-encoding"),
    ]
    if found.packed and b"gzip" in dict(scope["headers"]).get(b"accept-encoding", b""):
        body = found.packed
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _only_get(scope: dict[str, Any], *, head: bool = False) -> None:
    """head: whether it may also be asked for without its content."""
    allowed = ("GET", "HEAD") if head else ("GET",)
    if scope["state"]["method"] not in allowed:
        raise errors.MethodNotAllowed("This address can only be read.", allowed)
