"""The description of the JSON API, for programs that read such things."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, get
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import Components, SecurityScheme


class Description:
    """OpenAPI 3.1 of the given handlers, worked out when it is first asked for, from an app of its own: Litestar would
    otherwise put further routes of its own beside it."""

    def __init__(self, handlers: Sequence[Any], version: str) -> None:
        self._handlers = handlers
        self._version = version

    @functools.cached_property
    def json(self) -> bytes:
        config = OpenAPIConfig(
            title="chatserver",
            version=self._version,
            render_plugins=[JsonRenderPlugin()],
            use_handler_docstrings=True,
            components=Components(security_schemes={"key": SecurityScheme(type="http", scheme="bearer")}),
            security=[{"key": []}],
        )
        app = Litestar(route_handlers=list(self._handlers), openapi_config=config, logging_config=None)
        return msgspec.json.encode(app.openapi_schema.to_schema())


@get("/api/openapi.json", opt={"public": True}, include_in_schema=False)
async def show_description(request: Request[Any, Any, State]) -> Response[bytes]:
    description: Description = request.app.state.description
    return Response(description.json, media_type="application/json")
