"""A run of flows, good and bad, with a canary in everything a person or an operator keeps to themselves: the log holds
none of them, and each call in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chatserver import Prompt, hookimpl, logs
from chatserver.testing.server import PASSWORD, Site, open_site
from chatserver.testing.upstream import FakeUpstream
from tests.web.test_metrics import until_ended

WORD = "zeisig-4711"
"""Stands in every text that is sent."""
MODELS = (
    "fake-n5",
    "fake-echo",
    "fake-err500-leak",
    "fake-err400-leak",
    "fake-err401-leak",
    "fake-n9-oops5",
    "fake-hang",
)
RUNS = {"done": 3, "failed": 5, "interrupted": 1, "stopped": 1}


class Gossip:
    """A plugin that repeats what it was given whenever it fails, and it fails at a word."""

    @hookimpl
    async def prepare_prompt(self, prompt: Prompt) -> Prompt | None:
        if "stumble early" in str(prompt.messages):
            raise ValueError(f"cannot read {prompt.messages}")
        if "stumble late" in str(prompt.messages):
            raise KeyError(str(prompt.messages))
        return None


async def live(site: Site) -> list[str]:
    """Do what people do and what goes wrong; returns what must not be in the log."""
    secrets = [WORD, PASSWORD, "sk-fake"]
    await site.house.accounts.create("ann@example.org", secret=PASSWORD)
    ann = await site.sign_in("ann@example.org")
    await site.browser().post("/sign-in", data={"email": "ann@example.org", "password": WORD})
    secrets += [ann.csrf, *ann.cookies.values()]
    key = await site.make_key("ann@example.org")
    program = site.api(key)
    secrets.append(key)
    text = f"My word is {WORD}."
    for model in MODELS:
        await ann.post("/send", data={"text": f"{text} {model}", "model": model})
    await ann.post("/send", data={"text": f"stumble early {text}", "model": "fake-n5"})
    await ann.post("/send", data={"text": f"stumble late {text}", "model": "fake-n5"})
    made = (await program.post("/api/conversations", json={"title": text})).json()["id"]
    asked = {"parent_id": None, "text": text, "model": "fake-n5"}
    sent = await program.post(f"/api/conversations/{made}/messages", json=asked)
    assert sent.status_code == 202
    await until_ended(site, RUNS | {"stopped": 0})
    for running in site.house.live.running():
        site.house.runner.stop(running.turn.id)
    shared = await program.post(f"/api/conversations/{made}/shares", json={"scope": "tree"})
    assert shared.status_code == 201, shared.text
    secret = shared.json()["url"].rsplit("/", 1)[-1]
    secrets.append(secret)
    await site.browser().get(f"/s/{secret}")
    await site.browser().get(f"/setup/{WORD}")
    await ann.get("/search", params={"q": WORD})
    await ann.get(f"/c/{WORD}/{WORD}")
    await program.get(f"/api/conversations/{made}/export", params={"format": "json"})
    await program.patch(f"/api/conversations/{made}", json={"system_prompt": text, "parameters": {"temperature": 9}})
    broken = b'{"title": "' + WORD.encode()
    await program.post("/api/conversations", content=broken, headers={"content-type": "application/json"})
    picture = b"\x89PNG\r\n\x1a\n" + text.encode()
    await ann.post("/files", files={"file": (f"{WORD}.txt", text.encode(), "text/plain")})
    await ann.post("/files", files={"file": (f"{WORD}.png", picture, "image/png")})
    await site.api(f"{key}x").get("/api/conversations")
    return secrets


@pytest.mark.parametrize("form", ["json", "text"])
async def test_the_log_keeps_what_people_keep(form: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with FakeUpstream.in_thread() as upstream:
        async with open_site(tmp_path, upstream.base_url, models=MODELS, plugins=[("gossip", Gossip())]) as site:
            capfd.readouterr()
            logs.configure("info", form)
            try:
                secrets = await live(site)
                await until_ended(site, RUNS)
                said = capfd.readouterr().err
            finally:
                logs.configure("debug")
    assert [line for line in said.splitlines() if any(secret in line for secret in secrets)] == []
    assert "plugin failed" in said and "ValueError" in said and "KeyError" in said
    assert "sign_in_failed" in said
    if form == "json":
        check_calls([json.loads(line) for line in said.splitlines()])


def check_calls(lines: list[dict[str, Any]]) -> None:
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    calls = [line for line in lines if line["event"] == "call" and line["kind"] == "chat"]
    assert len({line["call"] for line in calls}) == len(calls) == sum(RUNS.values())
    for line in calls:
        assert {"turn", "account", "request_id", "model", "state", "attempts", "duration_ms"} <= line.keys(), line
    assert [line["origin"] for line in calls].count("api") == 1
    of_page = [line for line in calls if line["origin"] == "web" and line.get("error") != "plugin_failed"]
    by_model = {line["model"]: line for line in of_page}
    assert len(of_page) == len(by_model) == len(MODELS)
    good = by_model["fake-echo"]
    assert (good["state"], good["channel"], good["attempts"]) == ("done", "fake", 1)
    assert good["first_token_ms"] <= good["duration_ms"] and good["output"] > 0 and good["input"] > 0
    assert by_model["fake-err401-leak"]["error"] == "upstream_key_refused"
    assert by_model["fake-err500-leak"]["failed"].startswith("fake:server")
    assert (by_model["fake-hang"]["state"], by_model["fake-hang"]["failed"]) == ("stopped", "fake:cancelled")
