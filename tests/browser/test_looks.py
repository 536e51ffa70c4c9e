"""Every page in every look, light and dark, at three widths, in every language: names, tokens in forms, and axe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from litestar.routes import HTTPRoute
from playwright.sync_api import Browser, BrowserContext, Page

from chatserver.web.app import create_app
from tests.browser import tour
from tests.browser.stage import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WIDTHS = (390, 768, 1440)
SCHEMES = ("light", "dark")
LOOKS = [("grove", "en"), ("paper", "en")]


@pytest.fixture(scope="module")
def world(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tour.World]:
    with Site(tmp_path_factory.mktemp("tour")) as site:
        yield tour.furnish(site)


@pytest.fixture(scope="module")
def inside(browser: Browser, world: tour.World) -> Iterator[BrowserContext]:
    context = browser.new_context()
    context.add_cookies([world.site.cookie(world.account)])  # type: ignore[list-item]
    yield context
    context.close()


@pytest.fixture(scope="module")
def outside(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


def faults_of(page: Page) -> list[str]:
    """What axe finds at each width and in each scheme, once what moves has come to rest."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.evaluate("document.getAnimations().forEach(one => { try { one.finish() } catch { one.cancel() } })")
            result = Axe().run(page)
            if result.violations_count:
                found.append(f"{scheme} at {width}: {result.generate_report()}")
            wide = page.evaluate("document.documentElement.scrollWidth")
            if wide > width:
                found.append(f"{scheme} at {width}: the page is {wide} wide")
    return found


def names_of(page: Page) -> list[str]:
    """What is wrong with the names and the forms of a page."""
    wrong = []
    if page.get_by_role("main").count() != 1:
        wrong.append("a page has one main")
    if page.get_by_role("heading", level=1).count() != 1:
        wrong.append("a page has one first heading")
    for form in page.locator("form[method=post]").all():
        if form.locator("input[name=csrf]").count() != 1:
            wrong.append(f"no token in {form.evaluate('one => one.outerHTML.slice(0, 200)')}")
    if page.locator("[style], [onclick], script:not([src])").count():
        wrong.append("something inline")
    return wrong


@pytest.mark.parametrize(("look", "language"), LOOKS)
@pytest.mark.parametrize("name", [*tour.PAGES, *tour.OUTSIDE])
def test_every_page_is_whole_in_every_look(
    inside: BrowserContext, outside: BrowserContext, world: tour.World, name: str, look: str, language: str
) -> None:
    site = world.site
    site.call(lambda: site.house.accounts.set_settings(world.actor, {"look": look, "language": language}))
    page = (inside if name in tour.PAGES else outside).new_page()
    page.goto(tour.address(world, name))
    try:
        assert names_of(page) + faults_of(page) == []
        if name in tour.PAGES and page.locator("#side").count():
            for link in ("Settings", "New chat"):
                assert page.get_by_role("link", name=link).count() or language != "en", link
    finally:
        page.close()


def test_every_page_is_in_the_tour(world: tour.World) -> None:
    routes: Any = create_app(world.site.house).routes
    paths = {
        re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
        for route in routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods and not route.path.startswith("/api")
    }
    known = tour.NO_PAGES | set(tour.ROUTES)
    assert paths - known == set(), "show these pages in tests/browser/tour.py, or say why they are none"
    assert known - paths == set(), "these pages are gone"
    assert set(tour.ROUTES.values()) <= {*tour.PAGES, *tour.OUTSIDE}
