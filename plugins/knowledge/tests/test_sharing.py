"""Whose passages are: nobody else's, a group's while it is shared with it, and nobody's when it is taken back."""

from __future__ import annotations

import re
from typing import Any

import pytest

from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream

from .conftest import bring, make, put_in, search

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

TREES = "# Oak\nThe oak sheds its leaves in autumn.\n\n# Fir\nThe fir keeps its needles.\n"


async def passages_of(site: Site, shelf: str) -> list[str]:
    """The addresses of all its passages."""
    rows = await site.house.db.read(
        lambda tx: tx.all(
            str,
            "SELECT c.file || '/' || CAST(c.place AS TEXT) FROM knowledge_chunks c JOIN knowledge_files f"
            " ON f.id = c.file WHERE f.collection_id = :shelf ORDER BY c.place",
            shelf=shelf,
        )
    )
    return [f"/x/knowledge/p/{row}" for row in rows]


async def reads(browser: Any, shelf: str, passages: list[str]) -> bool:
    """Whether everything of a collection opens; that nothing does, otherwise."""
    answers = [
        *[await browser.get(path) for path in passages],
        *[await browser.get(path, headers={"HX-Request": "true"}) for path in passages],
        await browser.get(f"/x/knowledge/c/{shelf}"),
        await browser.get(f"/x/knowledge/collections/{shelf}"),
        await browser.get(f"/x/knowledge/search?q=oak&collection={shelf}"),
    ]
    statuses = {answer.status_code for answer in answers}
    assert statuses in ({200}, {404}), statuses
    found = any("oak" in hit["text"] for hit in await search(browser, "oak"))
    listed = [one["id"] for one in (await browser.get("/x/knowledge/collections")).json()["collections"]]
    assert (shelf in listed) == found == (statuses == {200})
    return found


async def test_a_share_taken_back_shuts_every_passage_at_once(site: Site) -> None:
    ada = await site.sign_up("gives@example.org")
    await site.house.accounts.create("reads@example.org", groups=("default", "Sales Team"))
    await site.house.accounts.create("other@example.org", groups=("Sales", "Team"))
    reader, other = (
        site.api(await site.make_key("reads@example.org")),
        site.api(await site.make_key("other@example.org")),
    )
    account = await site.house.accounts.by_email("gives@example.org")
    await site.house.accounts.update(account.id, groups=("default", "Sales Team"))
    shelf = await make(ada, "Woods")
    await put_in(ada, shelf, await bring(ada, "trees.md", TREES.encode()))
    passages = await passages_of(site, shelf)
    assert len(passages) == 2
    where = f"/x/knowledge/collections/{shelf}"
    for program in (reader, other):
        assert await opens(program, shelf) is False

    shared = await ada.patch(where, json={"groups": ["Sales Team", " Sales Team "]})
    assert (shared.status_code, shared.json()["groups"], shared.json()["name"]) == (200, ["Sales Team"], "Woods")
    assert await opens(reader, shelf) is True
    assert await opens(other, shelf) is False, "a name with a blank in it is one group"
    assert (await reader.patch(where, json={"name": "Mine"})).status_code == 404

    assert (await ada.patch(where, json={"groups": []})).json()["groups"] == []
    assert await opens(reader, shelf) is False
    await ada.patch(where, json={"groups": ["Sales Team"]})
    assert await opens(reader, shelf) is True
    account = await site.house.accounts.by_email("reads@example.org")
    await site.house.accounts.update(account.id, groups=("default",))
    assert await opens(reader, shelf) is False, "who leaves the group leaves its collections"
    assert await reads(ada, shelf, passages)


async def opens(program: Any, shelf: str) -> bool:
    answer = await program.get(f"/x/knowledge/collections/{shelf}")
    found = await program.get("/x/knowledge/search", params={"q": "oak", "collection": shelf})
    assert (answer.status_code, found.status_code) in ((200, 200), (404, 404))
    listed = (await program.get("/x/knowledge/collections")).json()["collections"]
    everywhere = (await program.get("/x/knowledge/search?q=oak")).json()["hits"]
    is_open = answer.status_code == 200
    assert is_open == any(one["id"] == shelf for one in listed) == any(hit["collection"] == shelf for hit in everywhere)
    return is_open


async def test_passages_open_for_readers_only_and_close_with_the_share(site: Site, upstream: FakeUpstream) -> None:
    ada, bob, eve = [await site.sign_up(f"{name}@passages.example") for name in ("ada", "bob", "eve")]
    account = await site.house.accounts.by_email("eve@passages.example")
    await site.house.accounts.update(account.id, groups=("elsewhere",))
    shelf = await make(ada, "Woods", groups=["default"])
    await put_in(ada, shelf, await bring(ada, "trees.md", TREES.encode()))
    passages = await passages_of(site, shelf)
    assert await reads(ada, shelf, passages) and await reads(bob, shelf, passages)
    assert not await reads(eve, shelf, passages)
    assert (await site.browser().get(passages[0])).status_code in (303, 401)

    # Bob's answer keeps the title; what the passage says is asked for whenever it is opened.
    chat = (await bob.post("/api/conversations", json={"title": "t"})).json()["id"]
    body = {"parent_id": None, "text": "Which tree sheds its leaves?", "model": "fake-n5", "knowledge": [shelf]}
    sent = (await bob.post(f"/api/conversations/{chat}/messages", json=body)).json()
    await bob.get(f"/api/turns/{sent['turn_id']}/events?after=0")
    sources = f"/c/{chat}/{sent['reply_id']}/sources?open=1"
    page = (await bob.get(sources)).text
    assert "trees.md" in page and "sheds its leaves" not in page.replace("Which tree sheds its leaves", "")
    (address,) = set(re.findall(r'data-url="(/x/knowledge/p/[^"]+)"', page))
    assert "oak sheds" in (await bob.get(address)).text
    assert (await eve.get(sources)).status_code == 404
    assert (await eve.get(address)).status_code == 404

    form = await ada.post(f"/x/knowledge/c/{shelf}/change", data={"name": "Old woods"})
    assert form.status_code == 303, "no group ticked: shared with nobody"
    assert not await reads(bob, shelf, passages)
    assert (await bob.get(address)).status_code == 404
    assert "trees.md" in (await bob.get(sources)).text
    more = {"parent_id": sent["reply_id"], "text": "And the fir?", "model": "fake-n5"}
    upstream.reset()
    again = (await bob.post(f"/api/conversations/{chat}/messages", json=more)).json()
    await bob.get(f"/api/turns/{again['turn_id']}/events?after=0")
    assert "<passage" not in str(upstream.chats()[0].json["messages"]), "the choice that lasts is no way in"
    named = await bob.post(f"/api/conversations/{chat}/messages", json={**more, "knowledge": [shelf]})
    assert (named.status_code, named.json()["error"]["code"]) == (422, "unknown_collection")

    await ada.post(f"/x/knowledge/c/{shelf}/change", data={"name": "Old woods", "group": "default"})
    assert await reads(bob, shelf, passages)
    assert (await ada.post(f"/x/knowledge/c/{shelf}/remove")).status_code == 303
    for browser in (ada, bob):
        assert not await reads(browser, shelf, passages)


async def test_a_collection_is_changed_by_its_page(site: Site) -> None:
    ada, bob = await site.sign_up("forms@example.org"), await site.sign_up("formless@example.org")
    shelf = await make(ada, "Draft", groups=["default"])
    file = await bring(ada, "trees.md", TREES.encode())
    page = (await ada.get(f"/x/knowledge/c/{shelf}")).text
    assert f'<option value="{file}">trees.md</option>' in page
    assert 'name="group" value="default" checked' in page
    assert "Save" not in (await bob.get(f"/x/knowledge/c/{shelf}")).text
    for path, form in (
        ("change", {"name": "Bob's"}), ("add", {"file": file}), ("remove", {}), ("retry", {"file": "x"}),
        ("take-out", {"file": "x"}),
    ):  # fmt: skip
        assert (await bob.post(f"/x/knowledge/c/{shelf}/{path}", data=form)).status_code == 404
        assert (await ada.post(f"/x/knowledge/c/nothing/{path}", data=form)).status_code == 404
    assert (await ada.post(f"/x/knowledge/c/{shelf}/add", data={"file": file})).status_code == 303
    assert "trees.md</b>" in (await ada.get(f"/x/knowledge/c/{shelf}")).text
    foreign = await bring(bob, "bob.md", b"Bob's own words.")
    assert (await ada.post(f"/x/knowledge/c/{shelf}/add", data={"file": foreign})).status_code == 404
    assert (
        await ada.post(f"/x/knowledge/c/{shelf}/change", data={"name": "Final", "group": "default"})
    ).status_code == 303
    told = (await ada.get(f"/x/knowledge/collections/{shelf}")).json()
    assert (told["name"], told["groups"]) == ("Final", ["default"])
    empty = await ada.post(f"/x/knowledge/c/{shelf}/change", data={"name": "  "})
    assert empty.status_code == 422 and "at most 120 characters" in empty.text
    strange = await ada.post(f"/x/knowledge/c/{shelf}/change", data={"name": "Kept <b>", "group": "board"})
    assert strange.status_code == 422 and 'value="Kept &lt;b&gt;"' in strange.text and "board" in strange.text
    for body in ({"groups": ["board"]}, {"name": ""}, {"name": "x" * 121}, {"color": "red"}, {"groups": "default"}):
        refused = await ada.patch(f"/x/knowledge/collections/{shelf}", json=body)
        assert refused.status_code == 422, body
    assert (await ada.get(f"/x/knowledge/collections/{shelf}")).json()["name"] == "Final"
    chief = await site.sign_up("chief-of-groups@example.org", role="admin")
    own = await make(chief, "For the board", groups=["board"])
    assert (await chief.get(f"/x/knowledge/collections/{own}")).json()["groups"] == ["board"]
