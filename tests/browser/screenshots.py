"""Pictures of every page, for people to look at: python -m tests.browser.screenshots OUT_DIR [PAGE …]"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.browser import tour
from tests.browser.conftest import CHROMIUM
from tests.browser.stage import Site

SHOTS = (("light", 1440, "en"), ("dark", 1440, "zh"), ("light", 390, "fr"), ("dark", 390, "en"))
"""Scheme, width, language: each page at a desk and on a phone, in both schemes and all languages."""
COLOURS = 192
"""A page has few; a palette makes the file a quarter of the size."""


def shoot(browser: Browser, world: tour.World, name: str, folder: Path) -> None:
    site = world.site
    for scheme, width, language in SHOTS:
        site.call(lambda spoken=language: site.house.accounts.set_settings(world.actor, {"language": spoken}))
        context = browser.new_context(
            viewport={"width": width, "height": 900 if width > 800 else 844},
            color_scheme=scheme,  # type: ignore[arg-type]
            reduced_motion="reduce",
            locale=language,
        )
        if name in tour.PAGES:
            context.add_cookies([site.cookie(world.account)])  # type: ignore[list-item]
        page = context.new_page()
        page.goto(tour.address(world, name))
        page.evaluate("document.fonts.ready")
        picture = Image.open(io.BytesIO(page.screenshot()))
        picture.convert("RGB").quantize(COLOURS).save(folder / f"{name}-{scheme}-{width}-{language}.png", optimize=True)
        context.close()


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as kept, Site(Path(kept)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        world = tour.furnish(site)
        for name in wanted or [*tour.PAGES, *tour.OUTSIDE]:
            shoot(browser, world, name, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
