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
QUALITY = 62
SEEN_IS_HERE = """() => [...document.images].every(one => {
  const box = one.getBoundingClientRect()
  return one.complete || box.bottom < 0 || box.top > innerHeight
})"""


def shoot(browser: Browser, world: tour.World, names: list[str], folder: Path) -> None:
    """One window inside and one outside for each of SHOTS; all of them have signed in together, once."""
    site = world.site
    cookie = site.cookie(world.account)
    for scheme, width, language in SHOTS:
        site.call(lambda spoken=language: site.house.accounts.set_settings(world.actor, {"language": spoken}))
        for pages in (tour.PAGES, tour.OUTSIDE):
            context = browser.new_context(
                viewport={"width": width, "height": 900 if width > 800 else 844},
                color_scheme=scheme,  # type: ignore[arg-type]
                reduced_motion="reduce",
                locale=language,
            )
            if pages is tour.PAGES:
                context.add_cookies([cookie])  # type: ignore[list-item]
            page = context.new_page()
            for name in [name for name in names if name in pages]:
                page.goto(tour.address(world, name))
                page.evaluate("document.fonts.ready")
                page.wait_for_function(SEEN_IS_HERE)
                picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
                picture.save(folder / f"{name}-{scheme}-{width}-{language}.webp", quality=QUALITY, method=5)
            context.close()


def main(folder: Path, wanted: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as kept, Site(Path(kept)) as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shoot(browser, tour.furnish(site), wanted or [*tour.PAGES, *tour.OUTSIDE], folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
