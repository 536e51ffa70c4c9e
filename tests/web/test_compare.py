"""One question to several models, over the API and by the page's own forms."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from chatserver.testing.server import Site, SiteClient


async def test_the_api_names_a_reply_for_each_model(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat = (await ada.post("/api/conversations", json={})).json()["id"]
    where = f"/api/conversations/{chat}/messages"
    body = {"parent_id": None, "text": "Which?", "models": ["fake-n5", "fake-echo"]}
    key = {"idempotency-key": "one"}
    answer = await ada.post(where, json=body, headers=key)
    assert answer.status_code == 202
    sent = answer.json()
    assert [reply["model"] for reply in sent["replies"]] == ["fake-n5", "fake-echo"]
    assert sent["replies"][0] == {"reply_id": sent["reply_id"], "turn_id": sent["turn_id"], "model": "fake-n5"}
    assert (await ada.post(where, json=body, headers=key)).json() == sent
    other = await ada.post(where, json={**body, "models": ["fake-n5"]}, headers=key)
    assert (other.status_code, other.json()["error"]["code"]) == (422, "idempotency_mismatch")
    one = (await ada.post(where, json={"parent_id": None, "text": "One", "model": "fake-n5"})).json()
    assert "replies" not in one
    for wrong, code in (
        ({"model": "fake-n5"}, "model_and_models"),
        ({"models": ["fake-n5"] * 5}, "models_at_once"),
        ({"models": ["fake-n5", "no-such"]}, "unknown_model"),
    ):
        refused = await ada.post(where, json={**body, **wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, code)


async def compare(ada: SiteClient, *models: str) -> tuple[str, str, list[str]]:
    """A comparison begun by the page's form: conversation, question and replies."""
    answer = await ada.post("/send", data={"text": "Which?", "models": list(models)})
    assert answer.status_code == 303
    found = re.fullmatch(r"/c/(\w+)/(\w+)/compare", answer.headers["location"])
    assert found is not None
    tree = (await ada.get(f"/api/conversations/{found[1]}/messages?tree=1")).json()["messages"]
    return found[1], found[2], [message["id"] for message in tree if message["role"] == "assistant"]


def columns(page: str) -> list[str]:
    return re.findall(r'aria-labelledby="by-(\w+)"', page)


async def until_done(ada: SiteClient, chat: str) -> list[dict[str, Any]]:
    async with asyncio.timeout(10):
        while True:
            tree = (await ada.get(f"/api/conversations/{chat}/messages?tree=1")).json()["messages"]
            if all(message["state"] != "running" for message in tree):
                return list(tree)
            await asyncio.sleep(0.02)


async def test_a_comparison_has_an_address_of_its_own(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat, question, replies = await compare(ada, "fake-n5", "fake-echo")
    await until_done(ada, chat)
    where = f"/c/{chat}/{question}/compare"
    page = (await ada.get(where)).text
    assert columns(page) == replies
    assert page.count("Keep this</button>") == 2
    assert f'name="parent_id" value="{replies[0]}"' in page
    assert columns((await ada.get(f"{where}?with={replies[1]}")).text) == [replies[1]]
    assert columns((await ada.get(f"{where}?with={replies[1]},{replies[0]}")).text) == [replies[1], replies[0]]
    fragment = await ada.get(where, headers={"hx-request": "true", "hx-target": "main#main"})
    assert fragment.text.startswith("<main") or "<main" in fragment.text.split("<title>")[0]
    for wrong in ("nobody", ",".join(["a", "b", "c", "d", "e"]), question):
        assert (await ada.get(f"{where}?with={wrong}")).status_code == 404


async def test_one_is_asked_again_and_another_model_joins(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat, question, replies = await compare(ada, "fake-err500", "fake-n5")
    await until_done(ada, chat)
    where = f"/c/{chat}/{question}/compare"
    page = (await ada.get(where)).text
    assert 'data-state="failed"' in page and "No answer came" in page
    shown = {"with": ",".join(replies)}
    again = await ada.post(where, data={**shown, "again": replies[0], "models": "fake-n5"})
    fresh = again.headers["location"].split("=")[1].split(",")
    assert fresh[1] == replies[1] and fresh[0] not in replies
    more = await ada.post(where, data={"with": ",".join(fresh), "models": ["fake-echo", "fake-n5"]})
    wider = more.headers["location"].split("=")[1].split(",")
    assert (wider[:2], len(wider)) == (fresh, 4)
    shown = (await ada.get(f"{where}?with={','.join(wider)}")).text
    assert all(f">{name}</h3>" in shown for name in ("fake-err500", "fake-n5 · 1", "fake-echo", "fake-n5 · 2"))
    tree = await until_done(ada, chat)
    assert [m["model"] for m in tree if m["id"] in wider] == ["fake-n5", "fake-err500", "fake-echo", "fake-n5"]
    assert len([m for m in tree if m["parent_id"] == question]) == 5
    for form, status in (
        ({"with": ",".join(wider), "models": "fake-n5"}, 422),
        ({"with": replies[0]}, 422),
        ({"with": replies[0], "again": replies[1]}, 404),
        ({"with": replies[0], "models": "no-such"}, 422),
    ):
        assert (await ada.post(where, data=form)).status_code == status
    assert len(await until_done(ada, chat)) == len(tree)


async def test_keeping_one_moves_the_tip_and_leaves_the_others(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    chat, question, replies = await compare(ada, "fake-n5", "fake-echo")
    await until_done(ada, chat)
    kept = await ada.post(f"/m/{replies[1]}/keep")
    assert kept.headers["location"] == f"/c/{chat}/{replies[1]}"
    assert (await ada.get(f"/api/conversations/{chat}")).json()["tip"] == replies[1]
    page = (await ada.get(f"/c/{chat}")).text
    assert "<span>2/2</span>" in page
    assert f'name="parent_id" value="{replies[1]}"' in (await ada.get(f"/c/{chat}/{question}/compare")).text
    below = (await ada.post("/send", data={"conversation_id": chat, "parent_id": replies[1], "text": "On"})).headers
    tip = below["location"].rsplit("/", 1)[1]
    await until_done(ada, chat)
    await ada.post(f"/m/{replies[0]}/keep")
    back = await ada.post(f"/m/{replies[1]}/keep")
    assert back.headers["location"] == f"/c/{chat}/{tip}", "one goes on where one was below it"


async def test_the_reply_leads_to_a_choice_of_models(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    sent = await ada.post("/send", data={"text": "Which?", "model": "fake-n5"})
    chat, reply = sent.headers["location"].split("/")[2:]
    tree = await until_done(ada, chat)
    assert f'formaction="/m/{reply}/compare"' in (await ada.get(f"/c/{chat}/{reply}")).text
    dialog = (await ada.get(f"/m/{reply}/compare")).text
    assert 'value="fake-echo" required checked' in dialog and "Show the" not in dialog
    asked = await ada.post(f"/c/{chat}/{tree[0]['id']}/compare", data={"with": reply, "models": "fake-echo"})
    assert asked.headers["location"].startswith(f"/c/{chat}/{tree[0]['id']}/compare?with={reply},")
    assert "Show the 2 answers" in (await ada.get(f"/m/{reply}/compare")).text
    assert (await ada.get(f"/m/{tree[0]['id']}/compare")).status_code == 422


async def test_one_model_in_the_list_is_no_comparison(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    sent = await ada.post("/send", data={"text": "Which?", "model": "fake-n5", "models": "fake-echo"})
    assert re.fullmatch(r"/c/\w+/\w+", sent.headers["location"])
    fragment = await ada.post(
        "/send",
        data={"text": "Which?", "models": ["fake-n5", "fake-echo"]},
        headers={"hx-request": "true", "hx-target": "div#thread", "idempotency-key": "once"},
    )
    assert (fragment.headers["hx-retarget"], fragment.headers["hx-reswap"]) == ("#main", "outerHTML")
    assert fragment.headers["hx-push-url"].endswith("/compare")
    assert len(columns(fragment.text)) == 2 and 'hx-target="#chats"' in fragment.text
    other = await ada.post("/send", data={"text": "Which?", "models": ["fake-n5"]}, headers={"idempotency-key": "once"})
    assert other.status_code == 422
