"""The addresses outside `/x/` at which plugins speak as other services do; a plugin that is off has none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from chatserver.domain.endpoints import Endpoint
from chatserver.errors import ChatserverError, SetupError

if TYPE_CHECKING:
    from chatserver.house import House

OURS = ("/api", "/x/", "/static/", "/c/", "/s/", "/settings", "/admin")


class Endpoints:
    """Finds what serves a path; asked at the door, for each request."""

    def __init__(self, house: House) -> None:
        self._plugins = house.plugins
        self._exact: dict[str, tuple[str, Endpoint]] = {}
        self._below: list[tuple[str, Endpoint]] = []
        for name, endpoint in self._plugins.brought("register_endpoints"):
            if not endpoint.path.startswith("/") or endpoint.path == "/" or endpoint.path.startswith(OURS):
                raise SetupError(f"The plugin {name} may not speak at {endpoint.path!r}.")
            if endpoint.path.endswith("/"):
                self._below.append((name, endpoint))
            elif endpoint.path in self._exact:
                raise SetupError(f"Two plugins speak at {endpoint.path!r}: {self._exact[endpoint.path][0]} and {name}.")
            else:
                self._exact[endpoint.path] = (name, endpoint)
        self._below.sort(key=lambda one: -len(one[1].path))
        self._prefixes = tuple(one.path for _, one in self._below)

    def check(self, own_paths: Iterable[str], is_claimed: Callable[[str], bool]) -> None:
        """Raises SetupError when a plugin speaks at or below an address of the server's own, or of another plugin's
        pages. An endpoint is asked before any page, so it would be there in its stead."""
        taken = {first_piece(path) for path in own_paths} - {"/"}
        for name, endpoint in (*self._exact.values(), *self._below):
            if first_piece(endpoint.path) in taken or is_claimed(endpoint.path):
                raise SetupError(
                    f"The plugin {name} may not speak at {endpoint.path!r}: that address is taken."
                    f" Switch the plugin off, or ask its makers for another address."
                )

    def all(self) -> Sequence[Endpoint]:
        return [one for _, one in (*self._exact.values(), *self._below)]

    def find(self, path: str) -> Endpoint | None:
        """The one for exactly this path, else the one with the longest beginning of it."""
        found = self._exact.get(path)
        if found is None and self._prefixes and path.startswith(self._prefixes):
            found = next(one for one in self._below if path.startswith(one[1].path))
        if found is None or not self._plugins.is_on(found[0]):
            return None
        return found[1]

    async def serve(self, endpoint: Endpoint, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            await endpoint.app(scope, receive, send)
        except ChatserverError:
            raise
        except Exception as error:  # a plugin's: its fault harms this request only
            name = next(name for name, one in (*self._exact.values(), *self._below) if one is endpoint)
            self._plugins.report_fault(name, endpoint.path, error)
            raise


def first_piece(path: str) -> str:
    """`/a/b` and `/a` are both `/a`."""
    return f"/{path[1:].partition('/')[0]}"
