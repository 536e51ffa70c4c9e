"""The routes plugins bring, below `/x/<plugin>/` and at their own prefixes; of a plugin that is off there are none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import unquote

import msgspec

from chatserver.domain.extend import Route
from chatserver.errors import NotFound, SetupError
from chatserver.house import House
from chatserver.web import plugin_api, plugin_pages
from chatserver.web.errors import MethodNotAllowed, with_head

PREFIX = "/x/"
_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


class Switches(Protocol):
    """What is needed of the plugins to know who is here."""

    def is_on(self, name: str) -> bool: ...


class _Place(msgspec.Struct, frozen=True):
    pattern: re.Pattern[str]
    route: Route


class Extensions:
    """An ASGI app for everything below /x/. A path may hold `{names}`, each one segment, in scope["path_params"]."""

    def __init__(self, house: House) -> None:
        self._plugins = house.plugins
        self._places: dict[str, list[_Place]] = {}
        self._public: dict[str, list[_Place]] = {}
        self._owners: dict[str, str] = {}
        for name, route in self._plugins.brought("register_routes"):
            place = _Place(_pattern(route.path), route)
            if not route.prefix:
                self._places.setdefault(name, []).append(place)
            elif self._owners.setdefault(route.prefix, name) == name:
                self._public.setdefault(route.prefix, []).append(place)
            else:
                raise SetupError(
                    f"Two plugins claim the address {route.prefix}: {self._owners[route.prefix]} and {name}."
                    " Switch one of them off."
                )

    def check(self, own_paths: Iterable[str]) -> None:
        """Raises SetupError when a plugin claims an address of the server's own."""
        taken = {f"/{path[1:].partition('/')[0]}" for path in own_paths}
        for prefix, name in self._owners.items():
            if prefix in taken:
                raise SetupError(f"The plugin {name} claims the address {prefix}, which is the server's own.")

    def owns(self, path: str) -> bool:
        """Whether this address is at or below a plugin's public prefix."""
        return f"/{path[1:].partition('/')[0]}" in self._owners

    def takes_files(self, path: str) -> bool:
        """Whether a form that is posted here may bring files."""
        if not path.startswith(PREFIX):
            return False
        name, _, rest = path.removeprefix(PREFIX).partition("/")
        return any(
            place.route.takes_files and place.pattern.fullmatch(f"/{rest}") for place in self._places.get(name, ())
        )

    async def serve_public(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Raises NotFound, also for a plugin that is switched off; 405 for what is not read."""
        full = scope["state"]["path"]
        prefix = f"/{full[1:].partition('/')[0]}"
        name = self._owners[prefix]
        if not self._plugins.is_on(name):
            raise NotFound
        if scope["state"]["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("This address can only be read.", ("GET", "HEAD"))
        rest = full.removeprefix(prefix) or "/"
        for place in self._public[prefix]:
            if (found := place.pattern.fullmatch(rest)) is not None:
                parameters = {key: unquote(value) for key, value in found.groupdict().items()}
                inner = {**scope, "path_params": parameters}
                try:
                    await plugin_pages.serve_public(name, place.route, inner, receive, send)
                except Exception as error:  # a route is a plugin's: its fault harms this request only
                    self._plugins.report_fault(name, full, error)
                    raise
                return
        raise NotFound

    def routes(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """Every path with its methods, as plugins wrote them."""
        return [
            (f"{PREFIX}{name}/{place.route.path.lstrip('/')}", place.route.methods)
            for name, places in self._places.items()
            for place in places
        ] + [
            (f"{prefix}/{place.route.path.lstrip('/')}".rstrip("/"), place.route.methods)
            for prefix, places in self._public.items()
            for place in places
        ]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Raises NotFound, also for a plugin that is switched off; 405 for another method."""
        full = scope["state"]["path"]
        name, _, rest = full.removeprefix(PREFIX).partition("/")
        if name not in self._places or not self._plugins.is_on(name):
            raise NotFound
        other_methods: set[str] = set()
        for place in self._places[name]:
            found = place.pattern.fullmatch(f"/{rest}")
            if found is None:
                continue
            if scope["method"] not in place.route.methods:
                other_methods.update(place.route.methods)
                continue
            parameters = {key: unquote(value) for key, value in found.groupdict().items()}
            inner = {**scope, "path": f"/{rest}", "root_path": f"{PREFIX}{name}", "path_params": parameters}
            try:
                if place.route.app is not None:
                    await place.route.app(inner, receive, send)
                elif place.route.api is not None:
                    await plugin_api.serve(place.route, inner, receive, send)
                else:
                    await plugin_pages.serve(name, place.route, inner, receive, send)
            except Exception as error:  # a route is a plugin's: its fault harms this request only
                self._plugins.report_fault(name, full, error)
                raise
            return
        if other_methods:
            raise MethodNotAllowed("This address does not do that.", with_head(other_methods))
        raise NotFound


def serves(plugins: Switches, url: str) -> bool:
    """Whether an address of this server is not that of a plugin that is switched off, or gone."""
    return not url.startswith(PREFIX) or plugins.is_on(url.removeprefix(PREFIX).partition("/")[0])


def _pattern(path: str) -> re.Pattern[str]:
    pieces = _PARAMETER.split(f"/{path.strip('/')}")
    written = [re.escape(piece) if at % 2 == 0 else f"(?P<{piece}>[^/]+)" for at, piece in enumerate(pieces)]
    return re.compile("".join(written) + "/?")
