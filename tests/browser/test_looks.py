"""Every page in every look, light and dark, at three widths, in every language: names, tokens in forms, and axe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from litestar.routes import HTTPRoute
from playwright.sync_api import Browser, Page

from chatserver import words
from chatserver.web.app import create_app
from chatserver.words import LANGUAGES
from tests.browser import tour
from tests.browser.stage import Site

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WIDTHS = (390, 768, 1440)
NARROWEST = 320
"""What is left of a screen of 640 pixels at 200 %, and of 1280 at 400 %."""
SCHEMES = ("light", "dark")
LOOKS = ("grove", "paper")
NAMES = [*tour.PAGES, *tour.OUTSIDE]
BY_SIGHT = "{type: 'rule', values: ['color-contrast', 'scrollable-region-focusable', 'target-size']}"
"""The rules whose answer may change while the words and the structure stay."""


@pytest.fixture(scope="module")
def world(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tour.World]:
    with Site(tmp_path_factory.mktemp("tour")) as site:
        yield tour.furnish(site)


@pytest.fixture(scope="module")
def inside(browser: Browser, world: tour.World) -> Iterator[Page]:
    """One window for all pages: it is opened once, and what they share comes from its cache."""
    context = browser.new_context(reduced_motion="reduce")
    context.add_cookies([world.site.cookie(world.account)])  # type: ignore[list-item]
    yield context.new_page()
    context.close()


@pytest.fixture(scope="module")
def outside(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(reduced_motion="reduce")
    yield context.new_page()
    context.close()


def faults_of(page: Page, scheme: str, width: int, rules: str = "") -> list[str]:
    """What axe finds on this page in this scheme at this width, once what moves has come to rest."""
    found = []
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate("document.getAnimations().forEach(one => { try { one.finish() } catch { one.cancel() } })")
    chosen = f"runOnly: {rules}" if rules else "rules: {'target-size': {enabled: true}}"
    result = AxeResults(page.evaluate(f"axe.run({{resultTypes: ['violations'], {chosen}}})"))
    if result.violations_count:
        found.append(f"{scheme} at {width}: {result.generate_report()}")
    return found + cut_at(page, width)


def cut_at(page: Page, width: int) -> list[str]:
    """What one would have to scroll sideways for at this width."""
    page.set_viewport_size({"width": width, "height": 900})
    wide = page.evaluate("document.documentElement.scrollWidth")
    return [f"at {width} the page is {wide} wide"] if wide > width else []


def show(page: Page, world: tour.World, name: str, look: str, language: str) -> None:
    """Open the page in this look and language, with axe in it."""
    site = world.site
    site.call(lambda: site.house.accounts.set_settings(world.actor, {"look": look, "language": language}))
    page.set_extra_http_headers({"Accept-Language": language})
    page.goto(tour.address(world, name))
    page.evaluate(Axe().axe_script)


def names_of(page: Page) -> list[str]:
    """What is wrong with the names and the forms of a page."""
    wrong = []
    if page.get_by_role("main").count() != 1:
        wrong.append("a page has one main")
    if page.get_by_role("heading", level=1).count() != 1:
        wrong.append("a page has one first heading")
    tokens = (
        "forms => forms.filter(one => one.querySelectorAll('input[name=csrf]').length != 1).map(one => one.outerHTML)"
    )
    wrong += [f"no token in {form[:200]}" for form in page.locator("form[method=post]").evaluate_all(tokens)]
    if page.locator("[style], [onclick], script:not([src])").count():
        wrong.append("something inline")
    return wrong


@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_whole_in_every_look_and_language(
    inside: Page, outside: Page, world: tour.World, name: str
) -> None:
    """A cover of the pairs: each width meets each language, each scheme each width, language and look.

    A page meets its languages in one look each, the page after it in the others. All rules are tried at all widths in
    the first language and at one width in the others, those that go by sight everywhere.
    """
    page = inside if name in tour.PAGES else outside
    faults: list[str] = []
    for place, language in enumerate(LANGUAGES):
        look = LOOKS[(place + NAMES.index(name)) % 2]
        show(page, world, name, look, language)
        found = names_of(page)
        for step, width in enumerate(WIDTHS):
            found += faults_of(page, SCHEMES[(place + step) % 2], width, BY_SIGHT if place and place != step else "")
        found += cut_at(page, NARROWEST)
        faults += [f"{look} in {language}: {fault}" for fault in found]
    assert faults == []


def test_right_to_left_nothing_is_cut(inside: Page, world: tour.World) -> None:
    for place, name in enumerate(("chat", "compare", "map", "difference", "chats", "share", "settings", "console")):
        show(inside, world, name, LOOKS[place % 2], words.MIRROR)
        assert inside.locator("html").get_attribute("dir") == "rtl"
        assert [fault for width in (1440, 390, NARROWEST) for fault in cut_at(inside, width)] == [], name


@pytest.mark.torture
@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", NAMES)
def test_every_page_is_whole_in_all_that_can_be_picked(
    inside: Page, outside: Page, world: tour.World, name: str, look: str, language: str
) -> None:
    page = inside if name in tour.PAGES else outside
    show(page, world, name, look, language)
    sights = [(scheme, width) for scheme in SCHEMES for width in WIDTHS]
    assert names_of(page) + [fault for sight in sights for fault in faults_of(page, *sight)] == []


@pytest.mark.parametrize("look", LOOKS)
def test_links_of_the_side_keep_their_names_in_every_look(inside: Page, world: tour.World, look: str) -> None:
    inside.set_viewport_size({"width": WIDTHS[-1], "height": 900})
    show(inside, world, "chat", look, "en")
    for link in ("Settings", "New chat"):
        assert inside.get_by_role("link", name=link).count(), link


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
