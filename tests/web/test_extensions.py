"""Public prefixes of plugins: one owner each, and never the server's own addresses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chatserver import Route, SetupError, hookimpl
from chatserver.web.extensions import Extensions


async def nothing(visit: object) -> Any:
    raise AssertionError("it is never asked")


class Claimant:
    @hookimpl
    def register_routes(self) -> list[Route]:
        return [Route("/", public_page=nothing, prefix="/pulse"), Route("/{day}", public_page=nothing, prefix="/pulse")]


def extensions_of(plugins: Any) -> Extensions:
    return Extensions(SimpleNamespace(plugins=plugins, permissions=None))  # type: ignore[arg-type]


def test_a_prefix_has_one_owner(plugin_manager: Any) -> None:
    assert extensions_of(plugin_manager(one=Claimant())).owns("/pulse/2026")
    assert not extensions_of(plugin_manager(one=Claimant())).owns("/pulses")
    with pytest.raises(SetupError, match="/pulse: one and two"):
        extensions_of(plugin_manager(one=Claimant(), two=Claimant()))


def test_a_prefix_is_never_the_servers_own(plugin_manager: Any) -> None:
    found = extensions_of(plugin_manager(one=Claimant()))
    found.check(["/", "/settings", "/c/{id}"])
    with pytest.raises(SetupError, match="the server's own"):
        found.check(["/", "/pulse/{id}"])


def test_a_route_for_anybody_says_where_it_is() -> None:
    async def nothing(visit: object) -> None:
        raise AssertionError("it is never asked")

    for wrong in ({"prefix": ""}, {"prefix": "status"}, {"prefix": "/a/b"}, {"prefix": "/a", "methods": ("POST",)}):
        with pytest.raises(ValueError):
            Route("/", public_page=nothing, **wrong)  # type: ignore[arg-type]
