"""A real server and a real Chromium for the tests of the page."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from chatserver.domain.access import Account
from tests.browser.stage import Site

EXPECTED = re.compile("Failed to (load|fetch)|ERR_INTERNET_DISCONNECTED")
"""What a browser logs of answers with an error status, and of a line that is cut; tests do both on purpose."""
expect.set_options(timeout=15_000)  # how soon is a matter of the machine, and nothing is awaited longer than it takes
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
def account(site: Site) -> Account:
    """Somebody new, so that no test sees another's chats."""
    site.actor.held.clear()
    site.actor.pause_s = 0.002
    number = len(site.call(site.house.accounts.list))
    return site.account(f"person{number}@example.org", "Ada Grove", "member")


@pytest.fixture
def visit(browser: Browser, site: Site, account: Account) -> Iterator[Callable[..., Page]]:
    """`visit("/path", width=390, scheme="dark", script=False)`: a signed-in page.

    Whatever the page logs as an error, or asks of another host, fails the test.
    """
    contexts: list[BrowserContext] = []
    faults: list[str] = []

    def open_page(
        path: str = "/", *, width: int = 1440, scheme: str = "light", script: bool = True, touch: bool = False
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 844 if width < 800 else 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=script,
            has_touch=touch,
            is_mobile=touch,
            permissions=["clipboard-read", "clipboard-write"],
        )
        contexts.append(context)
        context.add_cookies([site.cookie(account)])  # type: ignore[list-item]
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "console",
            lambda m: faults.append(m.text) if m.type == "error" and not EXPECTED.search(m.text) else None,
        )
        page.on(
            "request",
            lambda r: None if r.url.startswith((site.url, "data:", "blob:")) else faults.append(f"asked {r.url}"),
        )
        page.goto(site.url + path)
        return page

    yield open_page
    found = list(faults)  # what breaks off when the window closes is no fault
    for context in contexts:
        context.close()
    assert found == []


SHOTS = Path(os.environ["SHOTS"]) if "SHOTS" in os.environ else None


@pytest.fixture
def shoot(request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keep a picture when SHOTS names a folder; nothing is compared."""

    def keep(page: Page, name: str) -> None:
        if SHOTS is not None:
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(SHOTS / f"{name}.png"))

    return keep
