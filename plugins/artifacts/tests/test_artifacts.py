"""Over HTTP: what is listed, for whom, versions by branch and by hand, downloads, and the frame nothing else opens."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatserver.clock import monotonic_s
from chatserver.testing.server import Site, open_site
from chatserver.testing.upstream import FakeUpstream

FIRST = '```html title="A clock"\n<p>tick</p>\n```'
SECOND = '```html title="A clock"\n<p>tick tock</p>\n```'


@pytest.fixture(params=["sqlite", "postgres"])
async def site(tmp_path: Path, fake_upstream: FakeUpstream, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    async with open_site(tmp_path, fake_upstream.base_url, database_url=url) as site:
        yield site


async def start(browser: Any) -> str:
    return str((await browser.post("/api/conversations", json={"title": "Things"})).json()["id"])


async def ask(browser: Any, chat: str, text: str, parent: str | None = None) -> dict[str, str]:
    """An answer that says the same."""
    body = {"parent_id": parent, "text": text, "model": "fake-echo"}
    sent = (await browser.post(f"/api/conversations/{chat}/messages", json=body)).json()
    await browser.get(f"/api/turns/{sent['turn_id']}/events?after=0")
    return dict(sent)


async def listed(browser: Any, chat: str, tip: str = "") -> list[dict[str, Any]]:
    answer = await browser.get(f"/x/artifacts/?conversation={chat}&tip={tip}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["artifacts"])


async def test_versions_follow_the_branch(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = await start(ada)
    assert await listed(ada, chat) == []
    one = await ask(ada, chat, FIRST)
    two = await ask(ada, chat, SECOND, one["reply_id"])
    (clock,) = await listed(ada, chat)
    assert (clock["title"], clock["type"]) == ("A clock", "html")
    assert [version["message_id"] for version in clock["versions"]] == [one["reply_id"], two["reply_id"]]
    (earlier,) = await listed(ada, chat, one["reply_id"])
    assert earlier["id"] == clock["id"] and len(earlier["versions"]) == 1
    other = await ask(ada, chat, "```csv\na;b\n1;2\n```", one["reply_id"])
    assert {one["type"]: len(one["versions"]) for one in await listed(ada, chat)} == {"html": 1, "csv": 1}
    page = (await ada.get(f"/x/artifacts/panel/{chat}/{other['reply_id']}?all=1")).text
    assert "A clock" in page


async def test_who_reads_a_share_sees_cards_that_lead_nowhere(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = await start(ada)
    told = await ask(ada, chat, 'Here:\n\n<artifact title="A clock" type="text/html">\n<p>tick</p>\n</artifact>')
    made = await ada.post(f"/api/conversations/{chat}/shares", json={"tip": told["reply_id"]})
    page = (await site.browser().get(httpx.URL(made.json()["url"]).path)).text
    assert page.count("cover-card") == 1 and '<b dir="auto">A clock</b>' in page
    assert "tick" in page.partition("<summary>")[2], "the source is behind it"
    assert "/x/artifacts/" not in page and chat not in page
    assert "/x/artifacts/panel/" in (await ada.get(f"/c/{chat}/{told['reply_id']}")).text


async def test_anothers_chat_is_an_unknown_one(site: Site) -> None:
    ada, eve = await site.sign_up("ada@example.org"), await site.sign_up("eve@example.org")
    chat = await start(ada)
    one = await ask(ada, chat, FIRST)
    (clock,) = await listed(ada, chat)
    for place in (chat, "01" + "0" * 24):
        for address in (
            f"/x/artifacts/?conversation={place}",
            f"/x/artifacts/download/{place}/{clock['id']}",
            f"/x/artifacts/panel/{place}",
            f"/x/artifacts/panel/{place}/{one['reply_id']}",
        ):
            assert (await eve.get(address)).status_code == 404, address
        edited = await eve.post(f"/x/artifacts/panel/{place}/{one['reply_id']}/{clock['id']}", data={"text": "x"})
        assert edited.status_code == 404
    assert (await site.browser().get(f"/x/artifacts/?conversation={chat}")).status_code == 401
    assert (await ada.get("/x/artifacts/")).status_code == 422
    key = await site.make_key("ada@example.org")
    assert (await site.api(key).get(f"/x/artifacts/?conversation={chat}")).json()["artifacts"][0]["id"] == clock["id"]


async def test_a_version_by_hand_is_one_more(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = await start(ada)
    one = await ask(ada, chat, FIRST)
    (clock,) = await listed(ada, chat)
    address = f"/x/artifacts/panel/{chat}/{one['reply_id']}/{clock['id']}"
    assert (await ada.post(address, data={"text": "<p>by hand</p>"})).status_code == 303
    assert (await ada.post(address, data={"text": " "})).status_code == 422
    (again,) = await listed(ada, chat)
    assert [version["is_by_hand"] for version in again["versions"]] == [False, True]
    changes = (await ada.get(f"/x/artifacts/panel/{chat}/{one['reply_id']}?open={clock['id']}&view=changes")).text
    assert "+&lt;p&gt;by hand&lt;/p&gt;" in changes and "-&lt;p&gt;tick&lt;/p&gt;" in changes
    file = await ada.get(f"/x/artifacts/download/{chat}/{clock['id']}?version=2")
    assert file.text == "<p>by hand</p>"
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''A-clock.html"
    assert file.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_a_version_by_hand_goes_with_its_message(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = await start(ada)
    one = await ask(ada, chat, FIRST)
    two = await ask(ada, chat, SECOND, one["reply_id"])
    (clock,) = await listed(ada, chat)
    for tip in (one["reply_id"], two["reply_id"]):
        await ada.post(f"/x/artifacts/panel/{chat}/{tip}/{clock['id']}", data={"text": f"<p>{tip}</p>"})

    async def kept() -> list[str]:
        job = next(one for name, one in site.house.plugins.registered("register_jobs") if name == "artifacts")
        await job.run({})
        return await site.house.db.read(lambda tx: tx.all(str, "SELECT message_id FROM artifacts_edits ORDER BY id"))

    await ada.delete(f"/api/messages/{two['question_id']}")
    assert await kept() == [one["reply_id"], two["reply_id"]], "it can still be taken back"
    await site.house.db.write(lambda tx: tx.run("UPDATE deletions SET created_at = 1"))
    await site.house.jobs.enqueue("housekeeping", {})
    deadline = monotonic_s() + 20
    while (left := await kept()) != [one["reply_id"]]:
        assert left == [one["reply_id"], two["reply_id"]] and monotonic_s() < deadline
        await asyncio.sleep(0.02)


async def test_each_kind_is_shown_in_its_way(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = await start(ada)
    text = (
        "```svg\n<svg xmlns='http://www.w3.org/2000/svg'></svg>\n```\n```md\n# Title\n<script>x</script>\n```\n"
        "```csv\nname,age\nAda,36\n```\n```mermaid\ngraph TD\n```"
    )
    sent = await ask(ada, chat, text)
    pages = {}
    for one in await listed(ada, chat):
        pages[one["type"]] = (await ada.get(f"/x/artifacts/panel/{chat}/{sent['reply_id']}?open={one['id']}")).text
    assert 'src="data:image/svg+xml;base64,' in pages["svg"]
    assert ">Title</h" in pages["markdown"] and "<script>x" not in pages["markdown"]
    assert '<td dir="auto">Ada</td><td dir="auto" class="end">36</td>' in pages["csv"]
    assert "<iframe" not in pages["mermaid"] and "run=1" in pages["mermaid"]
    long = await ask(ada, chat, "```csv\n" + "\n".join(f"{n},{n}" for n in range(300)) + "\n```")
    (table,) = await listed(ada, chat)
    page = (await ada.get(f"/x/artifacts/panel/{chat}/{long['reply_id']}?open={table['id']}")).text
    assert page.count("<tr>") == 200 and "The first 200 rows." in page


async def frame_of(browser: Any, chat: str, tip: str, artifact: str) -> str:
    page = (await browser.get(f"/x/artifacts/panel/{chat}/{tip}?open={artifact}&run=1")).text
    found = re.search(r'<iframe class="art-frame" sandbox="allow-scripts" src="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_the_frame_is_for_one_account_and_for_frames(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, eve = await site.sign_up("ada@example.org"), await site.sign_up("eve@example.org")
    chat = await start(ada)
    one = await ask(ada, chat, FIRST)
    (clock,) = await listed(ada, chat)
    address = await frame_of(ada, chat, one["reply_id"], clock["id"])
    framed = {"sec-fetch-dest": "iframe"}
    shown = await ada.get(address, headers=framed)
    assert shown.status_code == 200 and shown.text.endswith("<p>tick</p>")
    policy = shown.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; script-src 'unsafe-inline'; default-src 'none'")
    assert f"frame-ancestors {site.url}" in policy and "require-trusted-types-for 'script'" in policy
    for dest in ("document", "script", "image", "embed"):
        assert (await ada.get(address, headers={"sec-fetch-dest": dest})).status_code == 403
    assert (await ada.get(address)).status_code == 403
    assert (await eve.get(address, headers=framed)).status_code == 404
    assert (await site.browser().get(address, headers=framed)).status_code == 401
    assert (await ada.get(address[:-4] + "AAAA", headers=framed)).status_code == 404
    monkeypatch.setattr("chatserver_artifacts.frame.LIVES_US", -1)
    late = await frame_of(ada, chat, one["reply_id"], clock["id"])
    assert (await ada.get(late, headers=framed)).status_code == 410


async def test_a_chip_below_the_message_leads_there(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = await start(ada)
    await ask(ada, chat, FIRST)
    page = (await ada.get(f"/c/{chat}")).text
    assert f'href="/x/artifacts/panel/{chat}/' in page and "A clock" in page


async def test_only_able_models_are_told_how(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    for wanted, count in (("able", 0), ("all", 1), ("none", 0)):
        fake_upstream.reset()
        settings = {"artifacts": {"instruct": wanted}}
        async with open_site(tmp_path / wanted, fake_upstream.base_url, plugin_settings=settings) as site:
            ada = await site.sign_up("ada@example.org")
            await ask(ada, await start(ada), "hello")
        messages = fake_upstream.chats()[0].json["messages"]
        assert [one["role"] for one in messages].count("system") == count
