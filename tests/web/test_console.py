"""The console: its frame and navigation, who gets in, and what plugins add."""

from __future__ import annotations

import re
from pathlib import Path

from chatserver import Actor, NavItem, PageAnswer, PageFiles, PageVisit, Route, SlotContext, hookimpl
from chatserver.testing.server import open_site

PAGE = """{% extends "plugin_admin.html" %}
{% block heading %}Weather{% endblock %}
{% block page %}<p>Rain.</p>{% endblock %}"""


class Weather:
    """A page of its own in the console, and a card on the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "page.html").write_text(PAGE)

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [PageFiles(str(self.folder))]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [Route("/stations/{place}", page=self.show, permission="admin.console")]

    @hookimpl
    def admin_pages(self, actor: Actor) -> list[NavItem]:
        return [NavItem("Weather", "/x/weather/stations")]

    @hookimpl
    async def render_slot(self, context: SlotContext) -> str | None:
        return '<section class="card"><h2>Sky</h2></section>' if context.slot == "admin.card" else None

    async def show(self, visit: PageVisit) -> PageAnswer:
        return await visit.page("page.html", news="It is wet.")


def current(text: str) -> list[str]:
    return re.findall(r'href="([^"]+)" aria-current="page"', text)


async def test_plugins_add_pages_and_cards(tmp_path: Path) -> None:
    (tmp_path / "weather").mkdir()
    async with open_site(tmp_path, plugins=[("weather", Weather(tmp_path / "weather"))]) as site:
        root = await site.sign_up("root@example.org", role="admin")
        first = (await root.get("/admin")).text
        assert current(first) == ["/admin"] and "<h2>Sky</h2>" in first and 'href="/x/weather/stations"' in first
        page = (await root.get("/x/weather/stations/rome")).text
        assert current(page) == ["/x/weather/stations"] and "<p>Rain.</p>" in page and "It is wet." in page
        assert "<title>Weather · Console · chatserver</title>" in page
        assert current((await root.get("/admin/notices")).text) == ["/admin/notices"]
        assert 'href="/admin"' in (await root.get("/")).text


async def test_only_admins_get_in(tmp_path: Path) -> None:
    (tmp_path / "weather").mkdir()
    async with open_site(tmp_path, plugins=[("weather", Weather(tmp_path / "weather"))]) as site:
        ann = await site.sign_up("ann@example.org")
        assert 'href="/admin"' not in (await ann.get("/")).text
        for path in ("/admin", "/admin/notices", "/x/weather/stations/rome"):
            assert (await ann.get(path)).status_code == 403
            assert (await site.browser().get(path, headers={"accept": "text/html"})).status_code == 303
