"""/status for everybody, heartbeats and the admins' page, on both engines."""

from __future__ import annotations

import re

from chatserver_gateway import Gateway
from chatserver_gateway.figures import MINUTE_US, Cell
from chatserver_gateway.shelf import DAY_US, DownMinute
from chatserver_gateway.status import DAYS, HOURS, bars, incidents, percent, state_of

from chatserver import clock
from chatserver.testing.server import Site
from chatserver.testing.upstream import FakeUpstream, Rule

from .conftest import MODEL, ask, open_chat


def test_minutes_close_together_are_one_incident_and_a_single_one_is_none() -> None:
    times = [10, 11, 12, 16, 40, 90, 91]
    found = incidents([DownMinute("m", at * MINUTE_US) for at in times], {"m": "Model"})
    assert [(one.title, one.began_at // MINUTE_US, one.minutes) for one in found] == [
        ("Model", 90, 2),
        ("Model", 10, 7),
    ]


def test_bars_end_now_and_only_what_never_failed_is_whole() -> None:
    now = 100 * DAY_US + 5
    found = bars({100 * DAY_US: Cell(asked=10_000, failed=1), 98 * DAY_US: Cell(asked=1, failed=1)}, DAY_US, DAYS, now)
    assert len(found) == DAYS
    assert [bar.state for bar in found[-3:]] == ["down", "quiet", "up"]
    assert found[-1].share == 99.9
    assert percent(Cell(asked=3)) == 100
    assert state_of(Cell(asked=10, failed=1)) == "weak"


async def test_anybody_sees_models_and_nobody_channels(site: Site, gateway: Gateway) -> None:
    stranger = site.browser()
    page = await stranger.get("/status")
    assert page.status_code == 200 and "Nothing was measured lately." in page.text and MODEL not in page.text
    ann = await site.sign_up("ann@example.org")
    assert await ask(ann, await open_chat(ann)) == "done"
    now = clock.now_us()
    minute = now - now % MINUTE_US
    for back in (60, 61, 62):
        await gateway.shelf.add({(minute - back * MINUTE_US, MODEL, ""): Cell(asked=1, failed=1)}, [])
    await gateway.shelf.add({(minute, "secret-model", ""): Cell(asked=1)}, [])
    await gateway.listening.flush()
    gateway.book._until = 0
    page = await stranger.get("/status")
    assert MODEL in page.text and "did not answer for 3 minutes" in page.text and "First word" in page.text
    assert page.text.count('<rect class="bar-') == HOURS + DAYS
    assert "secret-model" not in page.text and ">one<" not in page.text and "/x/gateway/" not in page.text
    assert "style=" not in page.text
    french = (await stranger.get("/status", headers={"accept-language": "fr"})).text
    assert "Les sept derniers jours" in french
    assert "/x/gateway/" not in (await ann.get("/status")).text
    assert (await stranger.post("/status")).status_code == 405
    assert (await stranger.get("/status/nothing")).status_code == 404
    assert (await stranger.head("/status")).status_code == 200


async def test_admins_see_the_channels_and_nobody_else_does(
    site: Site, gateway: Gateway, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.rules = [Rule("sk-one", "*", "err500"), Rule("sk-two", "*", "err401")]
    ann = await site.sign_up("ann@example.org")
    chat = await open_chat(ann)
    for _ in range(4):
        await ask(ann, chat)
    assert (await ann.get("/x/gateway/")).status_code == 403
    boss = await site.sign_up("boss@example.org", role="admin")
    assert "/x/gateway/" in (await boss.get("/admin")).text and "/x/gateway/" not in (await boss.get("/")).text
    text = (await boss.get("/x/gateway/")).text
    assert "key refused" in text and "Heartbeats used 0 of 20,000 tokens today." in text
    row = r'<td dir="auto">(\w+)</td>.*?</td><td [^>]*>\d+</td><td data-label="Share of traffic">(\d+)%</td>'
    shares = {channel: int(share) for channel, share in re.findall(row, text)}
    assert sum(shares.values()) in (99, 100, 101) and set(shares) == {"fake", "one", "two"}
    assert "sk-" not in text
    assert "/x/gateway/" in (await boss.get("/status")).text


async def test_heartbeats_ask_who_was_not_used_and_keep_to_their_budget(
    site: Site, gateway: Gateway, fake_upstream: FakeUpstream
) -> None:
    ann = await site.sign_up("ann@example.org")
    assert await ask(ann, await open_chat(ann)) == "done"
    (used,) = {seen.key for seen in fake_upstream.chats() if b'"Hi"' in seen.body and seen.json["model"] == MODEL}
    before = len(fake_upstream.chats())
    assert await gateway.heartbeats.beat() == 2
    asked = list(fake_upstream.chats())[before:]
    assert {seen.key for seen in asked} == {"sk-fake", "sk-one", "sk-two"} - {used}
    assert all(1 in (seen.json.get("max_tokens"), seen.json.get("max_completion_tokens")) for seen in asked)
    assert await gateway.heartbeats.beat() == 0, "they were asked just now"
    assert await gateway.heartbeats.used_tokens() > 0
    site.house.plugins.set_text("gateway", "heartbeat_minutes", "-1")
    site.house.plugins.set_text("gateway", "heartbeat_tokens_per_day", "1")
    before = len(fake_upstream.chats())
    assert await gateway.heartbeats.beat() == 3
    assert len(fake_upstream.chats()) == before, "the budget of the day is spent"


async def test_a_heartbeat_that_nobody_answers_is_an_outage(
    site: Site, gateway: Gateway, fake_upstream: FakeUpstream
) -> None:
    fake_upstream.rules = [Rule("*", "*", "err500")]
    site.house.plugins.set_text("gateway", "heartbeat_minutes", "-1")
    await gateway.heartbeats.beat()
    assert {one.model for one in await gateway.shelf.down_minutes(0)} == {MODEL}
    fake_upstream.rules = []
    await gateway.heartbeats.beat()
    status = await gateway.book.work_out()
    assert status.models[0].state == "weak"


async def test_a_new_key_for_a_refused_channel_is_asked_at_once(
    site: Site, gateway: Gateway, fake_upstream: FakeUpstream
) -> None:
    """Not only when the refused one would be tried again, minutes later."""
    root = await site.sign_up("root@example.org", role="admin")
    fake_upstream.rules = [Rule("sk-revoked", "*", "err401")]
    form = {"name": "first", "provider": "openai", "base_url": fake_upstream.base_url, "models": MODEL, "weight": "1"}
    form |= {"priority": "9", "groups": "default", "is_on": "1", "api_key": "sk-revoked"}
    added = await root.post("/admin/channels", data=form)
    assert added.status_code == 303, added.text
    chat = await open_chat(root)
    for _ in range(2):
        assert await ask(root, chat) == "done"
    keys = [seen.key for seen in fake_upstream.chats()]
    assert keys.count("sk-revoked") == 1, "it has left the ranking"
    (channel,) = re.findall(r'href="(/admin/channels/[0-9a-z]{26})"', (await root.get("/admin/channels")).text)[:1]
    assert (await root.post(channel, data={**form, "api_key": "sk-new"})).status_code == 303
    assert await ask(root, chat) == "done"
    assert [seen.key for seen in fake_upstream.chats()][-1] == "sk-new"
    assert "sk-new" not in (await root.get("/x/gateway/")).text
