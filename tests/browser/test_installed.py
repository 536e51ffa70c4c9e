"""The page as an app: what a browser wants before it installs one, and what it shows when the server is gone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.stage import Site

pytestmark = pytest.mark.browser

REGISTER = """async () => {
  await navigator.serviceWorker.register("/sw.js")
  const { active } = await navigator.serviceWorker.ready
  if (active.state !== "activated") await new Promise((done) => active.addEventListener("statechange", done))
}"""

KEPT = """async () => {
  const caches_of = await Promise.all((await caches.keys()).map((name) => caches.open(name)))
  return (await Promise.all(caches_of.map((cache) => cache.keys()))).flat().map((request) => request.url)
}"""


def test_the_manifest_names_icons_that_are_there(visit: Callable[..., Page]) -> None:
    page = visit("/")
    address = page.locator("link[rel=manifest]").get_attribute("href") or ""
    told = page.request.get(urljoin(page.url, address))
    assert told.headers["content-type"].startswith("application/manifest+json")
    manifest = json.loads(told.text())
    assert manifest["start_url"] == "/" and manifest["display"] == "standalone"
    assert {icon["sizes"] for icon in manifest["icons"]} == {"192x192", "512x512"}
    for icon in manifest["icons"]:
        answer = page.request.get(urljoin(told.url, icon["src"]))
        assert answer.status == 200 and answer.headers["content-type"] == "image/png"


def test_without_a_server_the_page_says_so_and_nothing_private_is_kept(browser: Browser, tmp_path: Path) -> None:
    with Site(tmp_path) as site:
        context = browser.new_context()
        context.add_cookies([site.cookie(site.account())])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(site.url)
        page.evaluate(REGISTER)
        page.reload()
        expect(page.get_by_role("textbox", name="Message")).to_be_visible()
        kept = page.evaluate(KEPT)
        assert kept and all("/static/" in url or url.endswith("/offline") for url in kept), kept
    page.goto(site.url + "/c/anything")
    expect(page.get_by_role("heading", name="The server cannot be reached")).to_be_visible()
    expect(page.get_by_role("link", name="Try again")).to_be_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('.door')).display") == "grid"
    context.close()
