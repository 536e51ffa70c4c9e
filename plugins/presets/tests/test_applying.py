"""A preset in a chat: what is sent, how long it lasts, what is written on the turn."""

from __future__ import annotations

from typing import Any

from chatserver_presets.shelf import Shelf

from chatserver import AccountErased, Delivery
from chatserver.testing.server import Site, SiteClient
from chatserver.testing.upstream import FakeUpstream

from .conftest import ask, make


async def start(client: SiteClient) -> str:
    return str((await client.post("/api/conversations", json={"title": "Mine"})).json()["id"])


def sent(upstream: FakeUpstream) -> Any:
    return upstream.chats()[-1].json


async def labels(site: Site, client: SiteClient, answer: Any) -> dict[str, str]:
    assert client.actor is not None
    return (await site.house.readers.turn(client.actor, answer.json()["turn_id"])).labels


async def test_texts_stand_around_the_conversation_with_their_values(
    site: Site, ada: SiteClient, fake_upstream: FakeUpstream
) -> None:
    guide = await make(
        ada,
        before="You know {{city}}.",
        after="In {{words}} words.",
        model="fake-echo",
        temperature="0.5",
        max_output="99",
    )
    chat = await start(ada)
    preset = {"id": guide, "values": {"city": "Oslo {{words}}", "words": "ten", "other": "x"}}
    first = await ask(ada, chat, "Where?", presets=preset)
    body = sent(fake_upstream)
    assert body["messages"][0] == {"role": "system", "content": "You know Oslo {{words}}."}
    assert body["messages"][1]["role"] == "user"
    assert str(body["messages"][1]["content"]).endswith("Where?\n\nIn ten words.")
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("fake-echo", 0.5, 99)
    assert await labels(site, ada, first) == {"preset": guide, "preset_version": "1"}
    stored = (await ada.get(f"/api/conversations/{chat}/messages")).json()["messages"]
    assert stored[0]["parts"] == [{"type": "text", "text": "Where?"}], "the question itself stays as it was written"


async def test_it_lasts_for_the_branch_in_its_newest_version_until_it_is_taken_away(
    site: Site, ada: SiteClient, fake_upstream: FakeUpstream
) -> None:
    guide = await make(ada, before="Be brief.")
    chat = await start(ada)
    first = await ask(ada, chat, presets=guide, model="fake-n5")
    await ada.post(f"/x/presets/{guide}", data={"name": "Guide", "before": "Be long."})
    second = await ask(ada, chat, model="fake-n5")
    assert sent(fake_upstream)["messages"][0]["content"] == "Be long."
    assert (await labels(site, ada, second))["preset_version"] == "2"
    again = await ada.post(f"/api/messages/{second.json()['reply_id']}/regenerate")
    await ada.get(f"/api/turns/{again.json()['turn_id']}/events")
    assert (await labels(site, ada, again))["preset"] == guide
    older = await ask(ada, chat, presets={"id": guide, "version": 1}, model="fake-n5")
    assert sent(fake_upstream)["messages"][0]["content"] == "Be brief."
    assert (await labels(site, ada, older))["preset_version"] == "1"
    without = await ask(ada, chat, presets={"id": ""}, model="fake-n5")
    assert (await labels(site, ada, without)) == {}
    assert sent(fake_upstream)["messages"][0]["role"] == "user"
    assert (await labels(site, ada, await ask(ada, chat, model="fake-n5"))) == {}
    beside = await ask(ada, chat, model="fake-n5", parent_id=first.json()["reply_id"])
    assert (await labels(site, ada, beside))["preset"] == guide, "the other branch has kept it"


async def test_a_newer_version_that_asks_for_more_stops_no_chat(
    site: Site, ada: SiteClient, fake_upstream: FakeUpstream
) -> None:
    """Nobody is there to fill in what was not asked before: the chat goes on with the version it began with."""
    guide = await make(ada, before="Be brief.")
    chat = await start(ada)
    first = await ask(ada, chat, presets=guide, model="fake-n5")
    await ada.post(f"/x/presets/{guide}", data={"name": "Guide", "before": "You know {{city}}."})
    again = await ada.post(f"/api/messages/{first.json()['reply_id']}/regenerate")
    assert again.status_code == 202, again.text
    await ada.get(f"/api/turns/{again.json()['turn_id']}/events")
    assert sent(fake_upstream)["messages"][0]["content"] == "Be brief."
    assert (await labels(site, ada, again))["preset_version"] == "1"
    picked = await ada.post(
        f"/api/conversations/{chat}/messages",
        json={"parent_id": first.json()["reply_id"], "text": "more", "model": "fake-n5", "presets": {"id": guide}},
    )
    assert picked.status_code == 422, "who picks it now is asked"


async def test_a_send_that_cannot_be_done_keeps_nothing(ada: SiteClient) -> None:
    guide = await make(ada, before="You know {{city}}.")
    chat = await start(ada)
    for preset, code in (
        ({"id": guide}, "missing_values"),
        ({"id": guide, "values": {"city": " "}}, "missing_values"),
        ({"id": guide, "version": 7, "values": {"city": "x"}}, "unknown_version"),
        ({"id": "nobody"}, "unknown_preset"),
        (7, "bad_preset"),
    ):
        answer = await ask(ada, chat, presets=preset)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
    assert (await ada.get(f"/api/conversations/{chat}/messages?tree=1")).json()["messages"] == []


async def test_a_deleted_preset_is_not_taken_over(site: Site, ada: SiteClient) -> None:
    guide = await make(ada, before="Be brief.")
    chat = await start(ada)
    await ask(ada, chat, presets=guide, model="fake-n5")
    await ada.post(f"/x/presets/{guide}/delete")
    assert (await labels(site, ada, await ask(ada, chat, model="fake-n5"))) == {}
    assert (await ask(ada, chat, presets=guide)).json()["error"]["code"] == "unknown_preset"


async def test_several_models_are_given_the_same(site: Site, ada: SiteClient, fake_upstream: FakeUpstream) -> None:
    guide = await make(ada, before="Be brief.", model="fake-hang")
    chat = await start(ada)
    answer = await ask(ada, chat, presets=guide, models=["fake-n5", "fake-echo"])
    for reply in answer.json()["replies"]:
        await ada.get(f"/api/turns/{reply['turn_id']}/events")
    assert [body.json["messages"][0]["content"] for body in fake_upstream.chats()[-2:]] == ["Be brief."] * 2


async def test_the_page_shows_what_is_picked_and_sends_it_by_its_form(
    ada: SiteClient, fake_upstream: FakeUpstream
) -> None:
    guide = await make(ada, '<i>"Guide"', before="You know {{city}}.", model="fake-echo")
    page = (await ada.get(f"/?presets.id={guide}")).text
    assert f'value="{guide}" data-note="fake-echo · 1 variable" data-model="fake-echo" selected' in page
    assert "&lt;i&gt;&#34;Guide&#34;" in page and "<i>&#34;" not in page
    assert 'name="presets.values.city" value=""' in page
    form = {"text": "Hi", "model": "fake-n5", "presets.id": guide, "presets.values.city": 'Oslo"<b>'}
    where = (await ada.post("/send", data=form)).headers["location"]
    page = (await ada.get(where)).text
    assert 'name="presets.values.city" value="Oslo&#34;&lt;b&gt;"' in page
    bad = await ada.post("/send", data={**form, "presets.values.city": ""}, headers={"hx-request": "true"})
    assert bad.status_code == 422 and "wants a value for: city" in bad.text
    assert 'id="preset-chip"></span>' in (await ada.get("/?presets.id=nonsense&presets=7")).text


async def test_what_is_of_a_gone_account_or_long_deleted_is_erased(site: Site, ada: SiteClient) -> None:
    guide, other, left = await make(ada, "One"), await make(ada, "Two"), await make(ada, "Three")
    assert ada.actor is not None
    owner = ada.actor.account_id
    shelf: Shelf = next(
        one.function.__self__.shelf  # type: ignore[attr-defined]
        for one in site.house.plugins._live["prepare_send"]
        if one.plugin == "presets"
    )
    await ada.post(f"/x/presets/{guide}/delete")
    await shelf.sweep({})
    assert await shelf.find_deleted(owner, guide) is not None
    old = "UPDATE presets_shelf SET deleted_at = 1 WHERE id = :id"
    await site.house.db.write(lambda tx: tx.run(old, id=guide))
    await shelf.sweep({})
    assert await shelf.find_deleted(owner, guide) is None
    assert await shelf.find_version(owner, guide, 1) is None
    moved = "UPDATE presets_shelf SET owner_id = :nobody WHERE id = :id"  # as if its account had gone unheard of
    await site.house.db.write(lambda tx: tx.run(moved, nobody="0" * 26, id=left))
    assert await shelf.find("0" * 26, left) is not None
    await shelf.sweep({})
    assert await shelf.find("0" * 26, left) is None
    assert await shelf.find(owner, other) is not None
    await site.house.plugins.notify("handle_event", delivery=Delivery(1, AccountErased(owner), 0))
    assert await shelf.find(owner, other) is None
