"""One question to several models, over the API and by the page's own forms."""

from __future__ import annotations

from chatserver.testing.server import Site


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
