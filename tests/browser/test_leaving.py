"""One's data: taken along, brought in, and leaving for good, by keyboard and without a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chatserver.testing.server import PASSWORD
from tests.browser.stage import Site

pytestmark = pytest.mark.browser
FIXTURE = Path(__file__).resolve().parents[2] / "plugins" / "imports" / "tests" / "fixtures" / "chatgpt.json"


@pytest.fixture
def resident(browser: Browser, site: Site) -> Callable[..., Page]:
    """`resident("ada@example.org", script=False)`: somebody with a password, signed in through the door."""

    def sign_in(email: str, *, script: bool = True) -> Page:
        site.call(lambda: site.house.accounts.create(email, name="Ada Grove", secret=PASSWORD))
        page = browser.new_context(java_script_enabled=script).new_page()
        page.set_default_timeout(10_000)
        page.goto(f"{site.url}/sign-in?next=/settings/data")
        page.get_by_role("textbox", name="Email").fill(email)
        page.get_by_role("textbox", name="Password").fill(PASSWORD)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="My data", level=1)).to_be_visible()
        return page

    return sign_in


@pytest.mark.parametrize("script", [True, False])
def test_an_account_is_deleted(resident: Callable[..., Page], site: Site, script: bool) -> None:
    email = f"leaves-{'with' if script else 'without'}@example.org"
    page = resident(email, script=script)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download, packed").click()
    assert download.value.suggested_filename.endswith(".jsonl.gz")
    if script:
        page.evaluate("localStorage.setItem('draft:new', 'a private draft')")
    page.get_by_label("File with chats").set_input_files(FIXTURE)
    page.get_by_role("button", name="Bring in").press("Enter")
    expect(page.get_by_role("status").filter(has_text="Taken in from ChatGPT")).to_be_visible()
    page.get_by_role("link", name="Delete my account").press("Enter")
    page.get_by_label("Password").press_sequentially("not this")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The password is not right")).to_be_visible()
    page.get_by_label("Password").press_sequentially(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Your account is deleted")).to_be_visible()
    if script:
        assert page.evaluate("localStorage.length") == 0
    page.goto(site.url)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert site.call(lambda: site.house.accounts.by_email(email)) is None
    page.context.close()
