"""The console: its frame and navigation, who gets in, and what plugins add."""

from __future__ import annotations

import re
from pathlib import Path

from chatserver import Actor, NavItem, PageAnswer, PageFiles, PageVisit, Route, SlotContext, hookimpl
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

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


KEY = "sk-canary-31ce90"


def channel(upstream: FakeUpstream, **more: str) -> dict[str, str]:
    return {
        "name": "Ours",
        "provider": "openai",
        "base_url": upstream.base_url,
        "api_key": KEY,
        "models": "quick=fake-n5\nother",
        "groups": "default, staff",
        "weight": "2",
        "is_on": "1",
        **more,
    }


async def test_a_channel_is_added_tested_switched_and_removed_by_forms(site: Site, fake_upstream: FakeUpstream) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    listed = (await root.get("/admin/channels")).text
    assert "in chatserver.toml" in listed and "/switch" not in listed, "those of the file are locked"
    assert 'name="provider"' in (await root.get("/admin/channels/new")).text
    added = await root.post("/admin/channels", data=channel(fake_upstream))
    assert added.status_code == 303
    page = (await root.get(added.headers["location"])).text
    assert "Ours was added." in page and KEY not in page
    (href,) = set(re.findall(r'href="(/admin/channels/[0-9a-z]{26})"', page))
    form = (await root.get(href)).text
    assert "A key is kept" in form and KEY not in form and "quick=fake-n5\nother" in form and "default, staff" in form
    tested = await root.post("/admin/channels/test", data={"name": "Ours", "model": "quick"})
    assert tested.status_code == 200 and "Ours: quick answered; the first word came after" in tested.text
    off = await root.post(f"{href}/switch", data={"on": "0"})
    assert "Ours is off" in (await root.get(off.headers["location"])).text
    saved = await root.post(href, data=channel(fake_upstream, api_key="", note="for us"))
    assert saved.status_code == 303 and "for us" in (await root.get("/admin/channels")).text
    assert (await root.post(f"{href}/remove")).status_code == 303
    assert (await root.get(href)).status_code == 404


async def test_a_channel_that_only_embeds_is_tested_by_an_embedding(site: Site, fake_upstream: FakeUpstream) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    fake_upstream.models = [{"id": "text-embedding-3-small"}]
    form = channel(fake_upstream, name="Vectors", models="")
    assert (await root.post("/admin/channels", data=form)).status_code == 303
    fake_upstream.requests.clear()
    tested = await root.post("/admin/channels/test", data={"name": "Vectors"})
    assert tested.status_code == 200 and "Vectors: text-embedding-3-small answered" in tested.text
    assert [one.path for one in fake_upstream.requests if "models" not in one.path] == ["/v1/embeddings"]


async def test_what_cannot_be_kept_is_said_and_nothing_typed_is_lost(site: Site, fake_upstream: FakeUpstream) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    for wrong, said in (
        ({"name": ""}, "Give the channel a name"),
        ({"weight": "many"}, "Write a whole number"),
        ({"base_url": "example.org"}, "The address must look like"),
        ({"models": "a\na"}, "The model a is named twice."),
        ({"name": "fake"}, "There is a channel of this name already."),
    ):
        page = await root.post("/admin/channels", data=channel(fake_upstream, note="keep me", **wrong))
        assert 400 <= page.status_code < 500 and said in page.text and 'value="keep me"' in page.text
        assert KEY not in page.text
    missing = await root.post("/admin/channels/test", data={"name": "nobody's"})
    assert missing.status_code == 404
    french = await root.post("/admin/channels", data=channel(fake_upstream, name=""), headers={"accept-language": "fr"})
    assert "Donnez au canal un nom" in french.text


async def test_a_model_is_turned_off_by_a_form(site: Site) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    assert "fake-n5" in (await root.get("/admin/models")).text
    done = await root.post("/admin/models", data={"model": "fake-n5", "on": "0", "groups": ""})
    page = (await root.get(done.headers["location"])).text
    assert "fake-n5 is off, for everybody." in page
    assert "fake-n5" not in {model["id"] for model in (await root.get("/api/models")).json()["models"]}
    assert (await root.post("/admin/models", data={"model": "nobody's", "on": "0"})).status_code == 404
    ann = await site.sign_up("ann@example.org")
    for path in ("/admin/models", "/admin/channels", "/admin/channels/test", "/admin/channels/x/switch"):
        assert (await ann.post(path, data={"model": "fake-n5", "on": "1"})).status_code == 403


async def test_the_overview_shows_figures_and_a_chart(site: Site) -> None:
    root = await site.sign_up("root@example.org", role="admin")
    for period, bars in (("day", 24), ("week", 28), ("month", 30), ("never", 24)):
        page = (await root.get(f"/admin?period={period}")).text
        assert page.count('<rect class="bar" x=') == bars and "Nobody has asked a model in this time." in page
        assert "style=" not in page
