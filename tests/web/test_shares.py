"""Share links at the door: who may read what, without signing in; revoked at once; never found by a search engine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from chatserver import hookimpl
from chatserver.clock import new_id
from chatserver.domain.access import Actor
from chatserver.testing.server import Site, SiteClient, open_site
from chatserver.testing.upstream import FakeUpstream
from tests.engines import ENGINES, postgres_with_schema

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Shared(msgspec.Struct):
    """A chat with a private version of its question, and a link to the public branch."""

    ada: SiteClient
    conversation: str
    private: str
    public: str
    id: str
    path: str


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def each_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A site on each engine in turn."""
    folder = tmp_path_factory.mktemp("site")
    with FakeUpstream.in_thread() as upstream:
        if request.param == "sqlite":
            async with open_site(folder, upstream.base_url) as site:
                yield site
        else:
            async with (
                postgres_with_schema(request.getfixturevalue("postgres_server")) as url,
                open_site(folder, upstream.base_url, database_url=url) as site,
            ):
                yield site


async def ask(client: httpx.AsyncClient, conversation: str, text: str, parent: str | None = None) -> dict[str, Any]:
    body = {"parent_id": parent, "text": text, "model": "fake-n5"}
    sent: dict[str, Any] = (await client.post(f"/api/conversations/{conversation}/messages", json=body)).json()
    async with client.stream("GET", f"/api/turns/{sent['turn_id']}/events") as events:
        await events.aread()
    return sent


async def share(site: Site, email: str, **wanted: Any) -> Shared:
    ada = await site.sign_up(email)
    conversation = (await ada.post("/api/conversations", json={})).json()["id"]
    private = await ask(ada, conversation, "a private question")
    public = await ask(ada, conversation, "a public question")
    made = await ada.post(f"/api/conversations/{conversation}/shares", json={"tip": public["reply_id"], **wanted})
    assert made.status_code == 201, made.text
    path = httpx.URL(made.json()["url"]).path
    return Shared(ada, conversation, private["question_id"], public["question_id"], made.json()["id"], path)


async def test_anybody_with_the_link_reads_what_was_shared(each_site: Site) -> None:
    shared = await share(each_site, "shares@example.org")
    assert re.fullmatch(r"/s/[A-Za-z0-9_-]{43}", shared.path)
    nobody = each_site.browser()
    page = await nobody.get(shared.path)
    assert page.status_code == 200 and "a public question" in page.text and "t0 t1" in page.text
    for hidden in ("private", "shares@", "shares", shared.conversation, shared.id, "/c/", 'name="csrf" value="'):
        assert hidden not in page.text.replace("Shared", "").replace("shared", ""), hidden
    assert page.headers["x-robots-tag"] == "noindex, nofollow, noarchive"
    assert page.headers["referrer-policy"] == "no-referrer" and page.headers["cache-control"] == "no-store"
    assert 'name="robots" content="noindex' in page.text and "set-cookie" not in page.headers
    assert (await nobody.get(f"{shared.path}/alive")).status_code == 204


async def test_a_foreign_message_answers_like_an_unknown_one(each_site: Site) -> None:
    shared = await share(each_site, "messages@example.org")
    other = await share(each_site, "others@example.org")
    bob = await each_site.sign_up("reads@example.org")
    for client in (each_site.browser(), bob, shared.ada):
        for template in ("{0}/b/{1}", "{0}/b/{1}/latest"):
            answers = set()
            for message in (shared.private, other.public, new_id(), "no-such-id'\""):
                answer = await client.get(template.format(shared.path, message))
                answers.add((answer.status_code, answer.text.replace(message, "")))
            assert len(answers) == 1 and answers.pop()[0] == 404
        assert (await client.get(f"{shared.path}/b/{shared.public}")).status_code == 200


async def test_a_wrong_secret_opens_nothing(each_site: Site) -> None:
    shared = await share(each_site, "wrong@example.org")
    nobody = each_site.browser()
    for wrong in (
        shared.path[:-1] + ("A" if shared.path[-1] != "A" else "B"),
        f"/s/{shared.id}",
        "/s/x",
        "/s/" + "y" * 43,
    ):
        for rest in ("", "/alive", f"/b/{shared.public}", f"/b/{shared.public}/latest"):
            assert (await nobody.get(wrong + rest)).status_code == 404
        assert (await nobody.post(f"{wrong}/copy")).status_code == 404


async def test_a_link_gives_no_way_to_anything_else(each_site: Site) -> None:
    """The secret is no session and no key, and what it opens says nothing of its owner's account."""
    shared = await share(each_site, "nothing-else@example.org")
    secret = shared.path.removeprefix("/s/")
    thief = each_site.browser(cookies={"sid": secret})
    for path in ("/", "/settings", "/api/account", f"/api/conversations/{shared.conversation}", "/shares"):
        assert (await thief.get(path)).status_code in (303, 401), path
    assert (await each_site.api(secret).get("/api/account")).status_code == 401


async def test_revoked_the_link_opens_nothing_at_once(each_site: Site) -> None:
    shared = await share(each_site, "revokes@example.org")
    nobody = each_site.browser()
    assert (await nobody.get(shared.path)).status_code == 200
    assert (await shared.ada.delete(f"/api/shares/{shared.id}")).status_code == 204
    for path in ("", "/alive", f"/b/{shared.public}"):
        assert (await nobody.get(shared.path + path)).status_code == 404
    assert (await shared.ada.delete(f"/api/shares/{shared.id}")).status_code == 404
    assert (await shared.ada.get("/api/shares")).json() == {"shares": []}


async def test_a_deleted_chat_and_a_suspended_owner_end_their_links(each_site: Site) -> None:
    deleted = await share(each_site, "deletes@example.org")
    nobody = each_site.browser()
    await deleted.ada.delete(f"/api/conversations/{deleted.conversation}")
    each_site.house.accounts.forget_credentials()  # another node would look again within a second
    assert (await nobody.get(deleted.path)).status_code == 404
    suspended = await share(each_site, "suspended-owner@example.org")
    assert suspended.ada.actor is not None
    await each_site.house.accounts.update(suspended.ada.actor.account_id, state="suspended")
    assert (await nobody.get(suspended.path)).status_code == 404


async def test_the_list_shows_links_without_their_secrets(each_site: Site) -> None:
    shared = await share(each_site, "lists@example.org", scope="tree", expires_in_s=3600, reasoning=True)
    (line,) = (await shared.ada.get("/api/shares")).json()["shares"]
    assert line["id"] == shared.id and line["scope"] == "tree" and line["reasoning"] is True
    assert line["messages"] == 4 and line["expires_at"] - line["created_at"] == 3600 * 1_000_000
    assert line["last_four"] == shared.path[-4:] and shared.path[3:] not in str(line)
    page = await shared.ada.get("/shares")
    assert shared.path[3:] not in page.text and "whole tree, 4 messages" in page.text
    answer = await shared.ada.post(f"/shares/{shared.id}/revoke", data={})
    assert answer.status_code == 303 and answer.headers["location"] == "/shares"


async def test_bad_input_is_said_so(each_site: Site) -> None:
    shared = await share(each_site, "bad@example.org")
    where = f"/api/conversations/{shared.conversation}/shares"
    for body in ({"expires_in_s": 0}, {"expires_in_s": 10**12}, {"title": "x" * 300}):
        answer = await shared.ada.post(where, json=body)
        assert answer.status_code == 422 and answer.json()["error"]["message"]
    for wrong in ({"scope": "world"}, {"expires_in_s": "soon"}, {"color": "red"}):
        assert (await shared.ada.post(where, json=wrong)).status_code == 400


async def test_a_reader_is_led_through_the_door_and_back_to_a_copy(each_site: Site) -> None:
    shared = await share(each_site, "gives@example.org", scope="tree")
    nobody = each_site.browser()
    page = await nobody.get(shared.path)
    door = f"/sign-in?next=%2Fs%2F{shared.path.removeprefix('/s/')}"
    assert f'href="{door}"' in page.text
    refused = await nobody.post(f"{shared.path}/copy")
    assert refused.status_code == 303 and refused.headers["location"] == door
    assert f'name="next" value="{shared.path}"' in (await nobody.get(door)).text
    bob = await each_site.sign_up("takes@example.org")
    copied = await bob.post(f"{shared.path}/copy", data={})
    assert copied.status_code == 303
    conversation = copied.headers["location"].removeprefix("/c/")
    messages = (await bob.get(f"/api/conversations/{conversation}/messages", params={"tree": 1})).json()["messages"]
    assert len(messages) == 4 and not {message["id"] for message in messages} & {shared.private, shared.public}
    sent = await ask(bob, conversation, "my own words", messages[-1]["id"])
    assert sent["reply_id"]
    assert "my own words" not in (await nobody.get(shared.path)).text
    assert (await shared.ada.get(f"/c/{conversation}")).status_code == 404


async def test_a_copy_is_made_by_its_reader_alone(each_site: Site) -> None:
    """No other site can make one in somebody's name."""
    shared = await share(each_site, "forged@example.org")
    bob = await each_site.sign_up("forged-reader@example.org")
    for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"x-csrf": "wrong"}):
        assert (await bob.post(f"{shared.path}/copy", data={}, headers=headers)).status_code == 403
    assert (await bob.get("/api/conversations")).json()["conversations"] == []


async def test_files_of_shared_messages_are_shared_and_no_others(each_site: Site) -> None:
    site = each_site
    number = len(await site.house.accounts.list())
    ada, bob = await site.sign_up(f"ada{number}@example.org"), await site.sign_up(f"bob{number}@example.org")
    ids = {}
    for name in ("shown.txt", "hidden.txt", "unsent.txt"):
        answer = await ada.post("/api/files", files={"file": (name, f"words of {name}".encode())})
        ids[name] = answer.json()["id"]
    chat = (await ada.post("/api/conversations", json={"title": "With files"})).json()["id"]
    tips = {}
    for name in ("shown.txt", "hidden.txt"):
        body = {"parent_id": None, "text": "Read", "model": "fake-n5", "attachments": [ids[name]]}
        sent = (await ada.post(f"/api/conversations/{chat}/messages", json=body)).json()
        async with ada.stream("GET", f"/api/turns/{sent['turn_id']}/events") as events:
            await events.aread()
        tips[name] = sent["reply_id"]
    made = (await ada.post(f"/api/conversations/{chat}/shares", json={"tip": tips["shown.txt"]})).json()
    path = made["url"].removeprefix(site.url)
    stranger = site.browser()
    page = (await stranger.get(path)).text
    assert "shown.txt" in page and "hidden.txt" not in page
    shown = await stranger.get(f"{path}/files/{ids['shown.txt']}")
    assert shown.content == b"words of shown.txt"
    assert shown.headers["content-security-policy"].startswith("sandbox")
    unknown = await stranger.get(f"{path}/files/{new_id()}")
    for name in ("hidden.txt", "unsent.txt"):
        refused = await stranger.get(f"{path}/files/{ids[name]}")
        assert (refused.status_code, refused.text) == (unknown.status_code, unknown.text)
        assert (await stranger.get(f"/files/{ids[name]}")).status_code in (303, 401)
    first, second = (await bob.post(f"{path}/copy"), await bob.post(f"{path}/copy"))
    assert first.headers["location"] == second.headers["location"]
    copied = first.headers["location"].removeprefix("/c/")
    question = (await bob.get(f"/api/conversations/{copied}/messages")).json()["messages"][0]
    own = question["parts"][0]["file_id"]
    assert own != ids["shown.txt"]
    assert (await bob.get(f"/files/{own}")).content == b"words of shown.txt"
    assert (await ada.get(f"/files/{own}")).status_code == 404
    assert len((await bob.get("/api/files")).json()["files"]) == 1
    await ada.delete(f"/api/shares/{made['id']}")
    assert (await stranger.get(f"{path}/files/{ids['shown.txt']}")).status_code == 404
    assert (await bob.get(f"/files/{own}")).status_code == 200


async def test_versions_of_a_shared_tree_lead_to_one_another(each_site: Site) -> None:
    shared = await share(each_site, "versions@example.org", scope="tree")
    nobody = each_site.browser()
    page = await nobody.get(shared.path)
    found = re.search(r'href="([^"]+)" aria-label="Previous version"', page.text)
    assert found and "<span>2/2</span>" in page.text
    moved = await nobody.get(found[1])
    assert moved.status_code == 303
    other = await nobody.get(moved.headers["location"])
    assert "a private question" in other.text and "a public question" not in other.text


async def test_hostile_words_stay_words(each_site: Site) -> None:
    ada = await each_site.sign_up("hostile@example.org")
    nasty = '<img src=x onerror=alert(1)><script>alert(2)</script>"><svg/onload=alert(3)> [x](javascript:alert(4))'
    conversation = (await ada.post("/api/conversations", json={"title": nasty})).json()["id"]
    sent = await ask(ada, conversation, nasty)
    edited = await ada.post(f"/api/messages/{sent['reply_id']}/edit", json={"text": nasty})
    made = await ada.post(f"/api/conversations/{conversation}/shares", json={"tip": edited.json()["reply_id"]})
    page = (await each_site.browser().get(httpx.URL(made.json()["url"]).path)).text
    assert "<img" not in page and "<svg/onload" not in page and "<script>" not in page
    assert 'href="javascript' not in page and "&lt;script&gt;alert(2)" in page


async def test_a_plugin_may_keep_sharing_shut(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    shut: set[str] = set()

    class House:
        @hookimpl()
        def permission_allowed(self, actor: Actor, permission: str) -> bool | None:
            return False if permission in shut else None

    async with open_site(tmp_path, fake_upstream.base_url, plugins=[("rules", House())]) as site:
        shared = await share(site, "rules@example.org")
        assert (await site.browser().get(shared.path)).status_code == 200
        shut.add("chat.share")
        answer = await shared.ada.post(f"/api/conversations/{shared.conversation}/shares", json={})
        assert answer.status_code == 403
        shut.add("share.read")
        assert (await site.browser().get(shared.path)).status_code == 404


async def test_pages_are_limited_by_address_and_looking_whether_they_live_is_not(
    tmp_path: Path, fake_upstream: FakeUpstream
) -> None:
    async with open_site(tmp_path, fake_upstream.base_url, limits={"shared_pages_per_minute": 2}) as site:
        shared = await share(site, "limits@example.org")
        nobody = site.browser()
        for status in (200, 200, 429):
            assert (await nobody.get(shared.path)).status_code == status
        for _ in range(5):
            assert (await nobody.get(f"{shared.path}/alive")).status_code == 204


async def test_a_secret_is_in_no_log(each_site: Site, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    shared = await share(each_site, "logs@example.org")

    async def break_down(*arguments: Any) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(each_site.house.shares, "read", break_down)
    assert (await each_site.browser().get(shared.path)).status_code == 500
    printed = capsys.readouterr()
    assert "broken on purpose" in printed.err + printed.out
    assert shared.path[3:] not in printed.err + printed.out
