"""What docs/plugins/knowledge.md shows: a plugin that hands passages along, and a program that looks something up."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import pytest

from chatserver.testing.server import open_site
from chatserver.testing.upstream import FakeUpstream

DOCS = Path(__file__).parents[3] / "docs" / "plugins" / "knowledge.md"

pytestmark = pytest.mark.timeout(60)


def example(name: str) -> Any:
    """The module of the example that makes this name."""
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL) if f" {name}" in one]
    module = types.ModuleType(name)
    exec(compile(code, str(DOCS), "exec"), module.__dict__)
    return module


async def test_both_examples_do_what_is_said(tmp_path: Path, upstream: FakeUpstream) -> None:
    almanac, program = example("Almanac"), example("look_up")
    async with open_site(tmp_path, upstream.base_url, plugins=[("almanac", almanac.Almanac())]) as site:
        farmer = site.api(await make(site, "farmer@example.org", "default", "farm"))
        other = site.api(await make(site, "other@example.org", "default"))
        told = {}
        for who, browser in (("farmer", farmer), ("other", other)):
            upstream.reset()
            chat = (await browser.post("/api/conversations", json={"title": "t"})).json()["id"]
            body = {"parent_id": None, "text": "What of April?", "model": "fake-n5"}
            answer = await browser.post(f"/api/conversations/{chat}/messages", json=body)
            assert answer.status_code == 202, answer.text
            sent = answer.json()
            await browser.get(f"/api/turns/{sent['turn_id']}/events?after=0")
            told[who] = str(upstream.chats()[0].json["messages"])
            messages = (await browser.get(f"/api/conversations/{chat}/messages")).json()["messages"]
            cited = [part for part in messages[-1]["parts"] if part["type"] == "citation"]
            assert [one["url"] for one in cited] == (["/x/almanac/april"] if who == "farmer" else [])
        assert "It rains in April." in told["farmer"] and told["farmer"].count("</passage>") == 1
        assert "It rains" not in told["other"]
        page = await site.sign_up("stranger@example.org")
        assert (await page.get("/x/almanac/april")).status_code == 404
        account = await site.house.accounts.by_email("stranger@example.org")
        await site.house.accounts.update(account.id, groups=("farm",))
        assert "It rains in April." in (await page.get("/x/almanac/april")).text

        key = await site.make_key("farmer@example.org")
        text = b"# Oak\nThe oak sheds its leaves.\n\n# Fir\nThe fir keeps its needles.\n"
        found = await program.look_up(site.url, key, "trees.md", text, "Which tree keeps its needles?")
        assert "fir" in found[0]


async def make(site: Any, email: str, *groups: str) -> str:
    await site.house.accounts.create(email, groups=groups)
    return str(await site.make_key(email))
