"""The routes plugins bring, below `/x/<plugin>/`; those of a plugin that is off are as if they never were."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

import msgspec

from chatserver.domain.extend import Route
from chatserver.errors import ChatserverError, NotFound
from chatserver.house import House
from chatserver.web import plugin_pages

PREFIX = "/x/"
_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class _Place(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    route: Route


class Extensions:
    """An ASGI app for everything below /x/. A path may hold `{names}`, each one segment, in scope["path_params"]."""

    def __init__(self, house: House) -> None:
        self._plugins = house.plugins
        self._places: dict[str, list[_Place]] = {}
        for name, route in self._plugins.registered("register_routes"):
            self._places.setdefault(name, []).append(_Place(_pattern(route.path), route))

    def routes(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Every path with its methods, as plugins wrote them."""
        return [
            (f"{PREFIX}{name}/{place.route.path.lstrip('/')}", place.route.methods)
            for name, places in self._places.items()
            for place in places
        ]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Raises NotFound, also for a plugin that is switched off; 405 for another method."""
        full = scope["state"]["path"]
        name, _, rest = full.removeprefix(PREFIX).partition("/")
        if name not in self._places or not self._plugins.is_on(name):
            raise NotFound
        other_methods = False
        for place in self._places[name]:
            found = place.pattern.fullmatch(f"/{rest}")
            if found is None:
                continue
            if scope["method"] not in place.route.methods:
                other_methods = True
                continue
            parameters = {key: unquote(value) for key, value in found.groupdict().items()}
            inner = {**scope, "path": f"/{rest}", "root_path": f"{PREFIX}{name}", "path_params": parameters}
            try:
                if place.route.app is not None:
                    await place.route.app(inner, receive, send)
                else:
                    await plugin_pages.serve(name, place.route, inner, receive, send)
            except Exception as error:  # a route is a plugin's: its fault harms this request only
                self._plugins.report_fault(name, full, error)
                raise
            return
        if other_methods:
            raise ChatserverError("This address does not do that.", code="method_not_allowed", status=405)
        raise NotFound


def _pattern(path: str) -> re.Pattern[str]:
    pieces = _PARAMETER.split(f"/{path.strip('/')}")
    written = [re.escape(piece) if at % 2 == 0 else f"(?P<{piece}>[^/]+)" for at, piece in enumerate(pieces)]
    return re.compile("".join(written) + "/?")
