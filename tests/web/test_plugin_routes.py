"""Routes of plugins: where they are, who asks, and what becomes of a plugin whose routes keep failing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatserver import Route, hookimpl
from chatserver.testing.server import open_site


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    actor = scope["state"]["actor"]
    body = f"hello {actor.account.email if actor else 'stranger'}, {scope['path_params'].get('city', '')}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def break_down(scope: dict[str, Any], receive: Any, send: Any) -> None:
    raise OSError("no weather today")


class Weather:
    @hookimpl
    def register_routes(self) -> list[Route]:
        return [Route("/hello/{city}", hello), Route("/broken", break_down)]


async def test_a_route_is_below_its_plugins_name_and_knows_who_asks(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("weather", Weather())]) as site:
        ann = await site.sign_up("ann@example.org")
        assert (await ann.get("/x/weather/hello/Rome")).text == "hello ann@example.org, Rome"
        assert (await site.browser().get("/x/weather/hello/Rome")).text == "hello stranger, Rome"
        assert (await ann.post("/x/weather/hello/Rome")).status_code == 405


async def test_switched_off_it_is_as_if_it_never_was(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("weather", Weather())]) as site:
        ann = await site.sign_up("ann@example.org")
        site.house.plugins.switch("weather", False)
        assert (await ann.get("/x/weather/hello/Rome")).status_code == 404
        site.house.plugins.switch("weather", True)
        assert (await ann.get("/x/weather/hello/Rome")).status_code == 200


async def test_five_failures_set_it_aside_and_others_are_served(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("weather", Weather())]) as site:
        ann = await site.sign_up("ann@example.org")
        for _ in range(5):
            assert (await ann.get("/x/weather/broken")).status_code == 500
            assert (await ann.get("/api/conversations")).status_code == 200
        assert (await ann.get("/x/weather/hello/Rome")).status_code == 404
        (notice,) = site.house.plugins.notices
        assert "The plugin weather was set aside" in notice.sentence
