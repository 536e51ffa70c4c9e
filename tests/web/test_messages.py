"""Messages and chat settings over the API and the page: what is kept, what is refused, and what the answer says."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from chatserver.clock import new_id
from chatserver.testing.server import Site, SiteClient

pytestmark = pytest.mark.asyncio(loop_scope="module")
HOSTILE = "<script>window.pwned=1</script>\u202e'\"{{ 7*7 }}"


async def asked(ada: SiteClient, text: str = "hello", **conversation: Any) -> tuple[str, dict[str, Any]]:
    made = (await ada.post("/api/conversations", json=conversation)).json()
    body = {"parent_id": None, "text": text, "model": "fake-n5"}
    sent = (await ada.post(f"/api/conversations/{made['id']}/messages", json=body)).json()
    async with asyncio.timeout(10):
        while (await ada.get(f"/api/turns/{sent['turn_id']}")).json()["state"] == "running":
            await asyncio.sleep(0.01)
    return made["id"], sent


@pytest.fixture
async def ada(shared_site: Site) -> SiteClient:
    return await shared_site.sign_up(f"{new_id()}@example.org")


async def test_a_chat_is_tuned_in_parts(ada: SiteClient) -> None:
    made = (
        await ada.post("/api/conversations", json={"system_prompt": HOSTILE, "parameters": {"temperature": 0}})
    ).json()
    assert made["system_prompt"] == HOSTILE
    assert made["parameters"] == {"temperature": 0.0, "max_output": None, "reasoning_effort": None}
    where = f"/api/conversations/{made['id']}"
    changed = (await ada.patch(where, json={"parameters": {"max_output": 50, "reasoning_effort": "low"}})).json()
    assert changed["parameters"] == {"temperature": 0.0, "max_output": 50, "reasoning_effort": "low"}
    changed = (await ada.patch(where, json={"parameters": {"temperature": None}, "title": "Mine"})).json()
    assert (changed["title"], changed["system_prompt"]) == ("Mine", HOSTILE)
    assert changed["parameters"] == {"temperature": None, "max_output": 50, "reasoning_effort": "low"}
    assert (await ada.get(where)).json() == changed


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"parameters": {"temperature": 3}}, 422, "bad_temperature"),
        ({"parameters": {"temperature": "hot"}}, 400, "bad_input"),
        ({"parameters": {"max_output": -1}}, 422, "bad_max_output"),
        ({"parameters": {"max_output": 1.5}}, 400, "bad_input"),
        ({"parameters": {"reasoning_effort": "huge"}}, 422, "bad_reasoning_effort"),
        ({"parameters": {"top_secret": 1}}, 400, "bad_input"),
        ({"parameters": []}, 400, "bad_input"),
        ({"system_prompt": None}, 400, "bad_input"),
        ({"system_prompt": "x" * 50_001}, 422, "system_prompt_too_long"),
        ({"system_prompt": "\x00"}, 422, "bad_text"),
    ],
)
async def test_what_makes_no_sense_is_told(ada: SiteClient, change: dict[str, Any], status: int, code: str) -> None:
    made = (await ada.post("/api/conversations", json={"title": "Mine"})).json()
    answer = await ada.patch(f"/api/conversations/{made['id']}", json={"title": "Changed", **change})
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert len(answer.json()["error"]["message"]) > 20
    assert (await ada.get(f"/api/conversations/{made['id']}")).json() == made
    assert (await ada.post("/api/conversations", json=change)).status_code == status or change == {
        "system_prompt": None
    }


async def test_what_was_sent_is_told_to_a_program(ada: SiteClient) -> None:
    _, sent = await asked(ada, system_prompt="Be brief.", parameters={"max_output": 9})
    told = (await ada.get(f"/api/turns/{sent['turn_id']}/prompt")).json()
    assert told["messages"] == [
        {"role": "system", "parts": [{"type": "text", "text": "Be brief."}], "source": "added", "tokens": 3},
        {"role": "user", "parts": [{"type": "text", "text": "hello"}], "source": "branch", "tokens": 2},
    ]
    assert (told["model"], told["max_output"], told["left_out"]) == ("fake-n5", 9, 0)
    assert told["is_exact"] and told["attempts"][0]["channel"] == "fake"
    assert (await ada.get("/api/turns/unknown/prompt")).status_code == 404


async def test_feedback_is_put_read_and_deleted(ada: SiteClient) -> None:
    _, sent = await asked(ada)
    where = f"/api/messages/{sent['reply_id']}/feedback"
    assert (await ada.get(where)).json()["value"] is None
    put = await ada.put(where, json={"value": "bad", "tags": ["wrong"], "reason": HOSTILE})
    assert put.status_code == 200
    assert (await ada.get(where)).json() == put.json()
    assert (put.json()["value"], put.json()["tags"], put.json()["reason"]) == ("bad", ["wrong"], HOSTILE)
    assert (await ada.put(where, json={"value": "good"})).json()["reason"] == ""
    for body, status in (
        ({"value": "fine"}, 422),
        ({"value": "good", "tags": ["wrong"]}, 422),
        ({"value": "bad", "reason": "x" * 2001}, 422),
        ({"value": "bad", "reasons": "x"}, 400),
        ({}, 400),
    ):
        answer = await ada.put(where, json=body)
        assert answer.status_code == status, body
        assert answer.json()["error"]["message"]
    assert (await ada.put(f"/api/messages/{sent['question_id']}/feedback", json={"value": "good"})).status_code == 422
    assert (await ada.get(where)).json()["value"] == "good"
    assert (await ada.delete(where)).status_code == 204
    assert (await ada.delete(where)).status_code == 204
    assert (await ada.get(where)).json()["value"] is None


async def test_pages_escape_what_people_wrote(ada: SiteClient) -> None:
    conversation, sent = await asked(ada, HOSTILE, system_prompt=HOSTILE)
    await ada.put(f"/api/messages/{sent['reply_id']}/feedback", json={"value": "bad", "reason": HOSTILE})
    for path in (
        f"/c/{conversation}/tuning",
        f"/t/{sent['turn_id']}/prompt",
        f"/m/{sent['reply_id']}/feedback",
        f"/m/{sent['question_id']}/more",
        f"/m/{sent['reply_id']}/more",
        f"/c/{conversation}",
    ):
        answer = await ada.get(path)
        assert answer.status_code == 200, path
        assert "<script>window" not in answer.text and "{{" not in answer.text.replace("{{ 7*7 }}", ""), path


async def test_a_form_that_will_not_do_comes_back_as_it_was_sent(ada: SiteClient) -> None:
    conversation, _ = await asked(ada)
    form = {"system_prompt": "Keep this", "temperature": "boiling", "max_output": "many"}
    answer = await ada.post(f"/c/{conversation}/tuning", data=form)
    assert answer.status_code == 422
    assert "Keep this" in answer.text and "boiling" in answer.text and 'role="alert"' in answer.text
    fragment = await ada.post(f"/c/{conversation}/tuning", data=form, headers={"hx-request": "true"})
    assert (fragment.status_code, fragment.headers["hx-retarget"]) == (200, "#dialog")
    new = await ada.post("/tuning", data={**form, "temporary": "1"})
    assert new.status_code == 422 and 'name="temporary"' in new.text
    assert (await ada.get(f"/api/conversations/{conversation}")).json()["system_prompt"] == ""
    made = await ada.post("/tuning", data={"system_prompt": "Go", "temporary": "1"})
    assert made.status_code == 303
    kept = (await ada.get(f"/api{made.headers['location'].replace('/c/', '/conversations/')}")).json()
    assert (kept["temporary"], kept["system_prompt"]) == (True, "Go")


async def test_a_long_prompt_is_shown_from_its_end(ada: SiteClient) -> None:
    conversation, sent = await asked(ada)
    for number in range(31):
        body = {"parent_id": sent["reply_id"], "text": f"question {number}", "model": "fake-n5"}
        sent = (await ada.post(f"/api/conversations/{conversation}/messages", json=body)).json()
        async with asyncio.timeout(10):
            while (await ada.get(f"/api/turns/{sent['turn_id']}")).json()["state"] == "running":
                await asyncio.sleep(0.005)
    some = (await ada.get(f"/t/{sent['turn_id']}/prompt")).text
    assert "3 earlier messages" in some and ">hello<" not in some
    assert ">hello<" in (await ada.get(f"/t/{sent['turn_id']}/prompt?all=1")).text


async def test_a_chat_of_forty_messages_is_a_light_page(ada: SiteClient) -> None:
    """What all messages have alike comes once; without a script each leads to a page with all that one can do."""
    conversation, sent = await asked(ada)
    for number in range(19):
        body = {"parent_id": sent["reply_id"], "text": f"Question {number}", "model": "fake-n5"}
        sent = (await ada.post(f"/api/conversations/{conversation}/messages", json=body)).json()
        async with asyncio.timeout(10):
            while (await ada.get(f"/api/turns/{sent['turn_id']}")).json()["state"] == "running":
                await asyncio.sleep(0.01)
    page = await ada.get(f"/c/{conversation}/{sent['reply_id']}")
    assert page.text.count('id="m-0') == 40
    assert len(page.content) <= 60_000
    far = page.text.partition("data-far")[2]
    more = await ada.get(far.partition('href="')[2].partition('"')[0])
    for deed in ("edit", "fork", "delete"):
        assert f'/{deed}"' in more.text
