"""What a reader waits for on a processor a quarter as fast: the largest paint, and keys while an answer streams."""

from __future__ import annotations

import shutil
from typing import NamedTuple

from playwright.async_api import Page, async_playwright

from benchmarks.servers import EMAIL, MODELS, PASSWORD, Running

SLOWDOWN = 4
PAINT_TARGET_MS, TYPING_TARGET_MS = 1_200, 100
LEAST_MS = 16
"""The browser reports no key that was painted sooner; it is counted as this."""
WORDS = "a quick fox"
LARGEST = """new Promise(tell => new PerformanceObserver(list => tell(list.getEntries().at(-1).startTime))
  .observe({type: 'largest-contentful-paint', buffered: true}))"""
LISTEN = """window.keyed = []; new PerformanceObserver(list => {
  for (const one of list.getEntries()) if (one.name === 'keydown') keyed.push(one.duration)
}).observe({type: 'event', durationThreshold: 16})"""


class Browsed(NamedTuple):
    """Milliseconds. paints: one a cold opening of the chat. keys: one a key, from its press to its picture."""

    paints_ms: list[float]
    keys_ms: list[float]


async def measure_browsing(running: Running, rounds: int) -> Browsed:
    """In Chromium, on a chat that grows by one streamed answer a round."""
    paints: list[float] = []
    keys: list[float] = []
    async with async_playwright() as playwright:
        path = shutil.which("chromium") or "/usr/bin/chromium"
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = await (await browser.new_context(viewport={"width": 1440, "height": 900})).new_page()
        await page.goto(f"http://127.0.0.1:{running.port}/")
        await page.get_by_role("textbox", name="Email").fill(EMAIL)
        await page.get_by_role("textbox", name="Password").fill(PASSWORD)
        await page.get_by_role("button", name="Sign in").click()
        slowly = await page.context.new_cdp_session(page)
        await page.goto(f"http://127.0.0.1:{running.port}/")
        await page.get_by_role("button", name="Model").click()
        await page.get_by_role("option", name=MODELS[-1]).first.click()
        await slowly.send("Emulation.setCPUThrottlingRate", {"rate": SLOWDOWN})
        for _ in range(rounds):
            keys += await _type(page)
            await slowly.send("Network.clearBrowserCache")
            await page.reload(wait_until="load")
            paints.append(await page.evaluate(LARGEST))
        await browser.close()
    return Browsed(paints, keys)


async def _type(page: Page) -> list[float]:
    """Ask, and type the next question while the answer comes; how long each key took."""
    box = page.get_by_role("textbox", name="Message")
    await box.fill("Tell me of tables and lists")
    await page.get_by_role("button", name="Send").click()
    await page.locator("article[aria-busy=true]").wait_for()
    await page.evaluate(LISTEN)
    await box.press_sequentially(WORDS, delay=25)
    streams = await page.locator("article[aria-busy=true]").count()
    assert streams, "the answer ended before the typing did"
    await page.locator("article[data-state=done]").last.wait_for()
    slow: list[float] = await page.evaluate("keyed")
    await page.locator("article[aria-busy=true]").wait_for(state="detached")
    await box.fill("")
    return slow + [LEAST_MS] * (len(WORDS) - len(slow))
