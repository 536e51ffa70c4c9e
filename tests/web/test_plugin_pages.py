"""Pages of plugins in the house's frame: their templates, files and forms, who gets in, and what they are told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chatserver import (
    BadInput,
    Context,
    NavItem,
    PageAnswer,
    PageFiles,
    PageVisit,
    Prompt,
    Route,
    SetupError,
    SlotContext,
    hookimpl,
)
from chatserver.testing.server import Site, open_site

LIST = """{% extends "plugin.html" %}
{% block sheets %}{{ super() }}<link rel="stylesheet" href="{{ static_url("garden", "garden.css") }}">{% endblock %}
{% block heading %}{{ _("Garden") }}{% endblock %}
{% block page %}<ul>{% for name in plants %}{% include "garden/plant.html" %}{% endfor %}</ul>
<form method="post"><input type="hidden" name="csrf" value="{{ frame.csrf }}"><input name="plant"></form>
{% endblock %}"""
PLANT = "<li>{{ name }}</li>"


class Garden:
    """Keeps plants for whoever comes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plants: list[str] = []
        self.seen: list[dict[str, msgspec.Raw]] = []
        for name, text in {"list.html": LIST, "plant.html": PLANT, "garden.css": ":root{--leaf:green}"}.items():
            (folder / name).write_text(text)

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [PageFiles(str(self.folder), str(self.folder))]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [
            Route("/", page=self.show),
            Route("/", page=self.plant, methods=("POST",)),
            Route("/{row}/{place}", page=self.place),
            Route("/locked", page=self.show, permission="admin.console"),
        ]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.ctx = ctx

    async def show(self, visit: PageVisit) -> PageAnswer:
        if visit.is_htmx:
            return visit.fragment("plant.html", name=visit.query.get("name", ""))
        return await visit.page("list.html", plants=self.plants, news=visit.query.get("news", ""))

    async def plant(self, visit: PageVisit) -> PageAnswer:
        if not visit.form.get("plant"):
            return await visit.page("list.html", plants=self.plants, problem=BadInput("Name a plant.", status=422))
        self.plants += visit.listed("plant")
        return visit.go(visit.form.get("next", "/x/garden/"))

    async def place(self, visit: PageVisit) -> PageAnswer:
        where = f"{visit.path['row']} {visit.path['place']}"
        return visit.fragment("plant.html", name=f"{where} {visit.actor.account.email}")

    @hookimpl
    def nav_items(self) -> list[NavItem]:
        return [NavItem("Garden", "/x/garden/", "book-open")]

    @hookimpl
    async def render_slot(self, context: SlotContext) -> str | None:
        if context.slot != "composer.tools":
            return None
        self.seen.append(context.fields)
        return self.ctx.pages.render("plant.html", name="<b>") + self.ctx.pages.url("garden.css")

    @hookimpl
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        return None


@pytest.fixture
def garden(tmp_path: Path) -> Garden:
    (tmp_path / "garden").mkdir()
    return Garden(tmp_path / "garden")


def open_garden(tmp_path: Path, garden: Any, **options: Any) -> Any:
    return open_site(tmp_path, plugins=[("garden", garden)], **options)


async def test_a_page_stands_in_the_frame_with_the_plugins_own_files(tmp_path: Path, garden: Garden) -> None:
    async with open_garden(tmp_path, garden) as site:
        ada = await site.sign_up("ada@example.org")
        page = await ada.get("/x/garden/?news=<i>")
        assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
        assert "<title>Garden · chatserver</title>" in page.text and "<h1>Garden</h1>" in page.text
        assert 'href="/x/garden/" aria-current="page"' in page.text
        assert "&lt;i&gt;" in page.text and "<i>" not in page.text.replace("<i></i>", "")
        sheet = re.search(r'href="(/static/garden/\w+/garden\.css)"', page.text)
        assert sheet and (await ada.get(sheet[1])).text == ":root{--leaf:green}"
        assert (await ada.get(sheet[1].replace(".css", ".html"))).status_code == 404
        assert (await ada.get("/x/garden/?name=<b>", headers={"hx-request": "true"})).text == "<li>&lt;b&gt;</li>"
        assert (await ada.get("/x/garden/a/b")).text == "<li>a b ada@example.org</li>"


async def test_a_form_wants_the_token_and_leads_on(tmp_path: Path, garden: Garden) -> None:
    async with open_garden(tmp_path, garden) as site:
        ada = await site.sign_up("ada@example.org")
        done = await ada.post("/x/garden/", data={"plant": ["fern", "<moss>"]})
        assert (done.status_code, done.headers["location"]) == (303, "/x/garden/")
        assert "<li>fern</li><li>&lt;moss&gt;</li>" in (await ada.get("/x/garden/")).text
        away = await ada.post("/x/garden/", data={"plant": "ivy", "next": "//evil.example/"})
        assert away.headers["location"] == "/x/garden/"
        wrong = await ada.post("/x/garden/", data={"plant": ""})
        assert wrong.status_code == 422 and "Name a plant." in wrong.text and 'role="alert"' in wrong.text
        forged = await ada.post("/x/garden/", data={"plant": "weed"}, headers={"x-csrf": "no"})
        assert forged.status_code == 403
        assert garden.plants == ["fern", "<moss>", "ivy"]


async def test_strangers_are_sent_to_the_door_and_members_stay_outside_the_shed(tmp_path: Path, garden: Garden) -> None:
    async with open_garden(tmp_path, garden) as site:
        html = {"accept": "text/html"}
        stranger = await site.browser().get("/x/garden/", headers=html)
        assert (stranger.status_code, stranger.headers["location"]) == (303, "/sign-in?next=%2Fx%2Fgarden%2F")
        member = await site.sign_up("ada@example.org")
        assert (await member.get("/x/garden/locked", headers=html)).status_code == 403
        admin = await site.sign_up("root@example.org", role="admin")
        assert (await admin.get("/x/garden/locked")).status_code == 200
        site.house.plugins.switch("garden", False)
        assert (await member.get("/x/garden/", headers=html)).status_code == 404


async def test_a_slot_is_told_what_was_handed_over_before(tmp_path: Path, garden: Garden, fake_upstream: Any) -> None:
    async with open_garden(tmp_path, garden, upstream_url=fake_upstream.base_url) as site:
        ada = await site.sign_up("ada@example.org")
        page = (await ada.get("/?garden.bed=north&other=1")).text
        assert "<li>&lt;b&gt;</li>" in page and re.search(r"</li>/static/garden/\w+/garden\.css", page)
        assert garden.seen == [{"garden": msgspec.Raw(b'{"bed":"north"}')}]
        sent = await ada.post("/send", data={"text": "Hi", "model": "fake-n5", "garden.bed": "south"})
        await settled(site, ada, sent.headers["location"])
        garden.seen.clear()
        fragment = await ada.get(sent.headers["location"], headers={"hx-request": "true", "hx-target": "div#view"})
        assert 'hx-target="#tools"' in fragment.text
        assert garden.seen == [{"garden": msgspec.Raw(b'{"bed":"south"}')}]


async def settled(site: Site, ada: Any, where: str) -> None:
    while any(live for live in site.house.live.running()):
        await ada.get(where)


def test_a_route_is_an_app_or_a_page(plugin_manager: Any) -> None:
    class Neither:
        @hookimpl
        def register_routes(self) -> list[Route]:
            return [Route("/nothing")]

    with pytest.raises(SetupError, match="neither failed in register_routes.* wants one of an app, a page and an api"):
        plugin_manager(neither=Neither)
