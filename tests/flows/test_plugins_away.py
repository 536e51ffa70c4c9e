"""Plugins that were used and are taken away: the house stands, nothing of theirs is in a page; back again, they find
their data. Once switched off in the file, once with the distribution not there at all."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image

from chatserver.chat.doctor import examine
from chatserver.clock import monotonic_s
from chatserver.plugins import loading
from chatserver.store import jobs as job_rows
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream

pytestmark = pytest.mark.timeout(120)

AWAY = ("artifacts", "dictation", "knowledge", "piper", "voices")
WORDS = ("Read aloud", "Dictate", "Artifacts", "Knowledge", "Voices", "Dictation", "Reading aloud", "cover-card")
CLOCK = '```html title="A clock"\n<p>tick tock</p>\n```'
OAK = b"# Trees\n\nThe oak sheds its leaves in autumn and lives a thousand years.\n"
NOWHERE = "http://127.0.0.1:9/v1"
ENTRANCES = ("artifacts/?conversation=x", "dictation/admin", "knowledge/", "voices/", "voices/admin", "voices/bar")


class Used(msgspec.Struct, frozen=True):
    """What was made with the plugins: ids and addresses."""

    chat: str
    clock: str
    cited: str
    collection: str
    picture: str
    share: str


async def ended(browser: Any, sent: Any) -> dict[str, str]:
    told = dict(sent.json())
    assert "turn_id" in told, told
    await browser.get(f"/api/turns/{told['turn_id']}/events?after=0")
    assert (await browser.get(f"/api/turns/{told['turn_id']}")).json()["state"] == "done"
    return told


async def ask(browser: Any, chat: str, parent: str | None, text: str, model: str = "fake-echo", **more: Any) -> str:
    body = {"parent_id": parent, "text": text, "model": model, **more}
    return (await ended(browser, await browser.post(f"/api/conversations/{chat}/messages", json=body)))["reply_id"]


async def come_back(site: Site) -> SiteClient:
    """The admin of the first time, in a new browser."""
    account = await site.house.accounts.by_email("boss@example.org")
    assert account is not None
    client = site.browser()
    client.cookies.set(site.app.state.door.origin.cookie_name, await site.house.accounts.open_session(account))
    client.actor = await site.house.accounts.actor_of_cookie(next(iter(client.cookies.values())))
    assert client.actor is not None
    client.csrf = site.house.accounts.csrf_token(client.actor)
    return client


async def until(question: Any) -> Any:
    deadline = monotonic_s() + 50
    while not (answer := await question()):
        assert monotonic_s() < deadline, "this never came to pass"
        await asyncio.sleep(0.05)
    return answer


async def use_all(boss: SiteClient) -> Used:
    """Something of everything they can keep."""
    chat = (await boss.post("/api/conversations", json={"title": "Things"})).json()["id"]
    clock = await ask(boss, chat, None, CLOCK)
    (found,) = (await boss.get(f"/x/artifacts/?conversation={chat}")).json()["artifacts"]
    edited = await boss.post(f"/x/artifacts/panel/{chat}/{clock}/{found['id']}", data={"text": "<p>by hand</p>"})
    assert edited.status_code == 303

    collection = (await boss.post("/x/knowledge/collections", json={"name": "Woods"})).json()["id"]
    place = f"/x/knowledge/collections/{collection}/files"
    file = (await boss.post("/api/files", files={"file": ("oak.md", OAK)})).json()["id"]
    assert (await boss.post(place, json={"file_id": file})).status_code == 202

    async def is_read() -> bool:
        told = (await boss.get(f"/x/knowledge/collections/{collection}")).json()["files"]
        return bool([one for one in told if one["state"] == "ready"])

    await until(is_read)
    cited = await ask(boss, chat, clock, "When does the oak shed its leaves? [1]", knowledge=[collection])
    share = await boss.post(f"/api/conversations/{chat}/shares", json={"tip": cited})

    voice = {"id": "ada", "title": "Ada", "key": "sk-a", "model": "m", "voice": "v", "base_url": NOWHERE}
    assert (await boss.post("/x/voices/admin", data={**voice, "groups": "choir"})).status_code == 303
    drawn = io.BytesIO()
    Image.new("RGB", (20, 20), "teal").save(drawn, "PNG")
    assert (await boss.post("/x/voices/admin/ada/picture", files={"picture": ("a.png", drawn.getvalue())})).is_redirect
    picture = re.findall(r"/x/voices/pictures/\w+", (await boss.get("/x/voices/")).text)[0]
    assert (await boss.post("/x/voices/", data={"voice": "default", "speed": "1.5"})).status_code == 303
    assert (await boss.post("/x/voices/speak", json={"message_id": cited})).status_code == 200

    ear = {"title": "An ear", "base_url": NOWHERE, "model": "whisper-1", "key": "sk-b"}
    assert (await boss.post("/x/dictation/admin", data=ear)).status_code == 303
    setting = {"name": "plugins.artifacts.instruct", "value": "all"}
    assert (await boss.post("/admin/settings", data=setting)).status_code == 303
    return Used(chat, clock, cited, collection, picture, "/s/" + share.json()["url"].rpartition("/s/")[2])


def pages_of(used: Used, way: str) -> tuple[str, ...]:
    """Where one would see something of them; off, those where that is told in another way."""
    tip = used.cited
    chat = (f"/c/{used.chat}/{tip}", f"/c/{used.chat}/{tip}/sources")
    if way == "off":
        return ("/", *chat, "/settings", "/admin/settings", "/admin/plugins")
    beside = (f"/c/{used.chat}", f"/c/{used.chat}/{tip}/map", f"/m/{tip}/more", used.share)
    console = ("/admin", "/admin/settings", "/admin/plugins", "/admin/models")
    return ("/", *chat, *beside, *console, "/search?q=tock", "/chats", "/settings", "/settings/data", "/palette?q=a")


async def look_around(site: Site, boss: SiteClient, used: Used, way: str) -> None:
    """The pages stand, and none knows anything of those that are away."""
    tip = used.cited
    fetched: set[str] = set()
    for path in pages_of(used, way):
        page = await boss.get(path)
        assert page.status_code == 200, (path, page.text)
        found = [f"{place}{name}/" for place in ("/x/", "/static/") for name in AWAY if f"{place}{name}/" in page.text]
        if path != "/admin/plugins":  # which tells what is installed and off
            found += [word for word in WORDS if word in page.text]
        assert found == [], path
        assert not [name for name in AWAY if f"plugins.{name}." in page.text], path
        for address in set(re.findall(r'(?:href|src)="(/static/[^"#]+)', page.text)) - fetched:
            assert (await boss.get(address)).status_code == 200, (path, address)
            fetched.add(address)
    chat = (await boss.get(f"/c/{used.chat}")).text
    assert "tick tock" in chat and "When does the oak" in chat, "what was written stands as it was"
    for path in ENTRANCES:
        assert (await boss.get(f"/x/{path}")).status_code == 404, path
    assert (await boss.get(used.picture)).status_code == 404
    assert "tock" in (await boss.get("/api/search", params={"q": "tock"})).text
    assert (await boss.get("/api/account/export")).status_code == 200
    assert await examine(site.house.db) == []
    asked = {"parent_id": tip, "text": "Are you well?", "model": "fake-echo", "knowledge": [used.collection]}
    refused = await boss.post(f"/api/conversations/{used.chat}/messages", json=asked)
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unknown_field")
    await ended(boss, await boss.post(f"/api/messages/{used.cited}/regenerate", json={}))
    await ask(boss, used.chat, tip, "Are you well?")
    await boss.patch(f"/api/conversations/{used.chat}", json={"tip": tip})
    key = site.api(await site.make_key("boss@example.org"))
    said = await key.post("/v1/audio/speech", json={"model": "tts-1", "voice": "default", "input": "Hello"})
    assert (said.status_code, said.json()["error"]["code"]) == (404, "no_voice")
    written = await key.post(
        "/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": ("a.wav", b"RIFF")}
    )
    assert (written.status_code, written.json()["error"]["code"]) == (404, "no_transcriber")


async def find_again(site: Site, boss: SiteClient, used: Used) -> None:
    """All that was made is there, and what waited is done."""
    (clock,) = (await boss.get(f"/x/artifacts/?conversation={used.chat}")).json()["artifacts"]
    assert [one["is_by_hand"] for one in clock["versions"]] == [False, True]
    assert site.house.plugins.settings_of("artifacts")["instruct"] == "all"
    found = await boss.get("/x/knowledge/search", params={"q": "oak leaves", "collection": used.collection})
    assert "thousand years" in found.text
    voices = (await boss.get("/x/voices/admin")).text
    assert "with a key" in voices and used.picture in voices
    assert (await boss.get(used.picture)).headers["content-type"] == "image/webp"
    told = (await boss.get(f"/x/voices/passages/{used.cited}")).json()
    assert told["speed"] == 1.5
    assert "An ear" in (await boss.get("/x/dictation/admin")).text
    page = (await boss.get(f"/c/{used.chat}")).text
    assert "cover-card" in page and "Read aloud" in page and "Dictate" in page
    assert await examine(site.house.db) == []

    async def is_done() -> bool:
        return not await site.house.db.read(
            lambda tx: tx.all(str, "SELECT id FROM jobs WHERE id = 'left' AND run_at < 2")
        )

    await until(is_done)


@asynccontextmanager
async def without(way: str, folder: Path, upstream: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """off: by the configuration. away: as if the distributions had been uninstalled."""
    with monkeypatch.context() as patch:
        if way == "away":
            here = [one for one in loading.find_plugins() if one.name not in AWAY]
            patch.setattr(loading, "find_plugins", lambda: here)
        async with open_site(folder, upstream, disabled=AWAY if way == "off" else ()) as site:
            assert not [name for name in AWAY if site.house.plugins.is_on(name)]
            yield site


async def test_used_plugins_go_and_come_back(
    tmp_path: Path, fake_upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        used = await use_all(await site.sign_up("boss@example.org", role="admin"))
        # work of theirs that nobody got round to
        await site.house.db.write(lambda tx: job_rows.enqueue(tx, "voices.forget", {}, 1, job_id="left"))
    for way in ("off", "away"):
        async with without(way, tmp_path, fake_upstream.base_url, monkeypatch) as site:
            await look_around(site, await come_back(site), used, way)
    async with open_site(tmp_path, fake_upstream.base_url) as site:
        await find_again(site, await come_back(site), used)
