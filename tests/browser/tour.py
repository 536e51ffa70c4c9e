"""Every page of the house with something on it, for the tests that draw them all and for `make screenshots`.

A page that the app serves and that is not here fails `test_looks.py`: add it, with the address that shows it best.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import msgspec

from chatserver.chat.tunings import TuningChange
from chatserver.domain.access import Account, Actor
from chatserver.domain.conversations import Sent
from tests.browser.gallery import ANSWER, drawing
from tests.browser.stage import Site

PLAN = "How should a tree of messages be stored?"
DEEPER = "And for 10,000 messages in one chat?"


class World(msgspec.Struct, frozen=True):
    """Whose pages they are, and the ids they are about."""

    site: Site
    account: Account
    actor: Actor
    conversation: str
    question: str
    reply: str
    tip: str
    ids: dict[str, str] = {}


def furnish(site: Site, email: str = "ada@example.org", name: str = "Ada Grove") -> World:
    """An account that has lived here for a while: several chats, one of them a tree."""
    account = site.account(email, name)
    cookie = site.cookie(account)["value"]
    actor: Actor = site.call(lambda: site.house.accounts.actor_of_cookie(cookie))
    site.actor.answers.update({PLAN: ANSWER, DEEPER: "Linear in the depth: the page loads the last 40 and no more."})

    async def ask(conversation: str | None, parent: str | None, text: str) -> Sent:
        sent = await site.house.sending.send(actor, conversation, parent, text, "thinker")
        await ended(sent)
        return sent

    async def ended(sent: Sent) -> None:
        while (await site.house.readers.turn(actor, sent.turn_id or "")).state == "running":
            await asyncio.sleep(0.005)

    async def live() -> tuple[Sent, Sent]:
        await site.house.notices.core.tell("disk", NEARLY_FULL)
        first = await ask(None, None, PLAN)
        await ended(await site.house.sending.regenerate(actor, first.reply_id))
        await ask(first.conversation_id, first.reply_id, "And in an append-only log?")
        tuned = TuningChange("You know databases well. Be brief.", 0.4, 2000, "medium")
        await site.house.conversations.update(actor, first.conversation_id, tuning=tuned)
        tip = await ask(first.conversation_id, first.reply_id, DEEPER)
        for question, title in (
            ("预设市场的分佣规则是什么？", "预设市场的分佣规则"),
            ("Prix : à l’unité ou par abonnement ?", "Prix à l’unité ou abonnement"),
            ("When is a request tried again, and when elsewhere?", "Retry and fallback policy"),
        ):
            asked = await ask(None, None, question)
            await site.house.conversations.update(actor, asked.conversation_id, title=title)
        words = "It names the trade-off, and says which one to take."
        await site.house.feedback.give(actor, first.reply_id, "good", tags=["clear", "correct"], reason=words)
        await site.house.conversations.update(actor, first.conversation_id, title="Storage for the tree", pinned=True)
        return first, tip

    first, tip = site.call(live, 60)
    share = site.call(lambda: site.house.shares.create(actor, first.conversation_id, tip.reply_id, "tree"))
    temporary = site.call(lambda: site.house.sending.send(actor, None, None, "Not to be kept", "swift", temporary=True))
    preset = site.call(lambda: make_preset(site, actor, cookie))
    folder = site.call(lambda: site.house.filing.make_folder(actor, "Engines"))
    site.call(
        lambda: site.house.filing.file(actor, first.conversation_id, folder_id=folder.id, tags=["storage", "sql"])
    )
    pictured = site.call(lambda: show_files(site, actor))
    site.call(lambda: name_voices(site, actor, cookie))
    ids = {
        "artifact": site.call(lambda: draw(site, actor)),
        "files": pictured,
        "secret": share.secret,
        "temporary": temporary.conversation_id,
        "preset": preset,
        "folder": folder.id,
        "turn": tip.turn_id or "",
    }
    return World(
        site, account, actor, first.conversation_id, first.question_id or "", first.reply_id, tip.reply_id, ids
    )


async def make_preset(site: Site, actor: Actor, cookie: str) -> str:
    """A preset with two versions and two variables, made by its form: a plugin's rows are nobody else's to write."""
    headers = {"x-csrf": site.house.accounts.csrf_token(actor), "sec-fetch-site": "same-origin"}
    form = {"name": "City guide", "before": "You know {{city}} well.", "after": "Answer in a {{tone}} tone."}
    async with httpx.AsyncClient(base_url=site.url, cookies={"sid": cookie}, headers=headers) as client:
        made = await client.post("/x/presets/new", data=form)
        where = made.headers["location"].partition("?")[0]
        await client.post(where, data={**form, "model": "thinker", "temperature": "0.7"})
    return str(where.rsplit("/", 1)[1])


async def name_voices(site: Site, actor: Actor, cookie: str) -> None:
    """Voices at an address, one with a picture and one of a group that nobody here is in."""
    headers = {"x-csrf": site.house.accounts.csrf_token(actor), "sec-fetch-site": "same-origin"}
    row = {"base_url": "https://voice.example.org/v1", "key": "sk-tour", "model": "tts-1", "languages": "en fr"}
    async with httpx.AsyncClient(base_url=site.url, cookies={"sid": cookie}, headers=headers) as client:
        for one, title, groups in (("ada", "Ada, trained here", ""), ("choir", "The choir", "singers")):
            form = {**row, "id": one, "title": title, "voice": one, "groups": groups}
            await client.post("/x/voices/admin", data=form)
        await client.post("/x/voices/admin/ada/picture", files={"picture": ("ada.png", drawing(200, 200))})


async def draw(site: Site, actor: Actor) -> str:
    """A question whose answer is a table with a title; its conversation."""
    question = "How fast is it, by depth?"
    site.actor.answers[question] = '```csv title="Read time by depth"\ndepth,milliseconds\n100,0.4\n10000,22\n```'
    sent = await site.house.sending.send(actor, None, None, question, "swift")
    await site.house.conversations.update(actor, sent.conversation_id, title="Read time by depth")
    while (await site.house.readers.turn(actor, sent.turn_id or "")).state == "running":
        await asyncio.sleep(0.005)
    return sent.conversation_id


async def show_files(site: Site, actor: Actor) -> str:
    """A question with pictures and other files; its conversation."""
    brought = []
    contents = {"hills.png": drawing(), "tall.png": drawing(200, 420), "schema.sql": b"CREATE TABLE a (id TEXT);"}
    for name, content in {**contents, "report.pdf": b"%PDF-1.7"}.items():
        path = site.house.blobs.spool / f"tour-{name}"
        path.write_bytes(content)
        brought.append((await site.house.files.bring_in(actor, name, path)).id)
        path.unlink()
    question = "What do these have in common?"
    sent = await site.house.sending.send(actor, None, None, question, "swift", attachments=brought)
    await site.house.conversations.update(actor, sent.conversation_id, title="Two pictures, a schema, a report")
    return sent.conversation_id


Address = Callable[[World], str]

NEARLY_FULL = (
    "The disk of the data folder is nearly full. Make room, or move the data folder to a larger one:"
    " when it is full, nothing new is taken."
)
"""As the disk's watch says it, so that its translations are seen."""

PAGES: dict[str, Address] = {
    "new": lambda w: "/",
    "temporary": lambda w: f"/c/{w.ids['temporary']}",
    "export": lambda w: f"/c/{w.conversation}/about/export",
    "end": lambda w: f"/c/{w.ids['temporary']}/about/end",
    "chat": lambda w: f"/c/{w.conversation}/{w.tip}",
    "folder": lambda w: f"/chats?folder={w.ids['folder']}",
    "filing": lambda w: f"/c/{w.conversation}/filing",
    "shortcuts": lambda w: "/shortcuts",
    "map": lambda w: f"/c/{w.conversation}/{w.tip}/map",
    "difference": lambda w: f"/c/{w.conversation}/difference/{w.tip}/{w.reply}",
    "name-branch": lambda w: f"/c/{w.conversation}/{w.tip}/rename-branch",
    "fork": lambda w: f"/m/{w.reply}/fork",
    "files": lambda w: f"/c/{w.ids['files']}",
    "compare": lambda w: f"/c/{w.conversation}/{w.question}/compare",
    "compare-with": lambda w: f"/m/{w.reply}/compare",
    "edit": lambda w: f"/m/{w.question}/edit",
    "delete": lambda w: f"/m/{w.question}/delete",
    "more": lambda w: f"/m/{w.reply}/more",
    "feedback": lambda w: f"/m/{w.reply}/feedback",
    "prompt": lambda w: f"/t/{w.ids['turn']}/prompt",
    "tuning": lambda w: f"/c/{w.conversation}/tuning?model=thinker",
    "tuning-new": lambda w: "/tuning?temporary=1",
    "rename": lambda w: f"/c/{w.conversation}/about/rename",
    "delete-chat": lambda w: f"/c/{w.conversation}/about/delete",
    "share": lambda w: f"/c/{w.conversation}/share",
    "shares": lambda w: "/shares",
    "chats": lambda w: "/chats",
    "search": lambda w: "/search?q=tree",
    "settings": lambda w: "/settings",
    "my-data": lambda w: "/settings/data",
    "leave": lambda w: "/settings/data/delete",
    "welcome": lambda w: "/welcome",
    "presets": lambda w: f"/x/presets/?deleted={w.ids['preset']}",
    "preset": lambda w: f"/x/presets/{w.ids['preset']}?saved=1",
    "preset-versions": lambda w: f"/x/presets/{w.ids['preset']}/versions",
    "preset-version": lambda w: f"/x/presets/{w.ids['preset']}/versions/1",
    "preset-picked": lambda w: f"/?presets.id={w.ids['preset']}",
    "console": lambda w: "/admin",
    "console-models": lambda w: "/admin/models",
    "console-channels": lambda w: "/admin/channels",
    "console-new-channel": lambda w: "/admin/channels/new",
    "console-settings": lambda w: "/admin/settings",
    "audit": lambda w: "/admin/audit",
    "notices": lambda w: "/admin/notices",
    "accounts": lambda w: "/admin/accounts",
    "plugins": lambda w: "/admin/plugins",
    "channels": lambda w: "/x/gateway/",
    "voices": lambda w: "/x/voices/",
    "artifact": lambda w: f"/x/artifacts/panel/{w.ids['artifact']}",
    "knowledge": lambda w: "/x/knowledge/",
    "voices-admin": lambda w: "/x/voices/admin",
    "dictation-admin": lambda w: "/x/dictation/admin",
    "tool-servers": lambda w: "/x/mcp/",
    "unknown": lambda w: "/c/unknown",
}
"""Pages of somebody signed in."""
OUTSIDE: dict[str, Address] = {
    "sign-in": lambda w: "/sign-in",
    "offline": lambda w: "/offline",
    "shared": lambda w: f"/s/{w.ids['secret']}",
    "status": lambda w: "/status",
}
"""Pages of nobody in particular."""
NO_PAGES = {
    "/c/{conversation_id}",  # the stored tip: the same page as a branch
    "/c/{conversation_id}/{message_id}/latest",  # redirects
    "/c/{conversation_id}/difference",  # redirects
    "/m/{message_id}/text",  # plain text
    "/files/{file_id}",  # what a file holds
    "/files/{file_id}/chip",  # a part of the composer
    "/c/{conversation_id}/{message_id}/sources",  # test_sources.py
    "/s/{secret}/b/{message_id}",  # the same page as shared
    "/s/{secret}/b/{message_id}/latest",  # redirects
    "/s/{secret}/files/{file_id}",  # what a file holds
    "/s/{secret}/alive",  # says nothing
    "/healthz",
    "/readyz",
    "/metrics",
    "/admin/channels/{channel_id}",  # the form of a new channel, filled in
    "/palette",  # options of the palette's list
    "/sw.js",
    "/setup/{token}",  # test_around.py
}
"""What answers GET and is no page of its own."""
ROUTES: dict[str, str] = {
    "/": "new",
    "/c/{conversation_id}/{message_id}": "chat",
    "/c/{conversation_id}/filing": "filing",
    "/shortcuts": "shortcuts",
    "/c/{conversation_id}/{message_id}/map": "map",
    "/c/{conversation_id}/difference/{left}/{right}": "difference",
    "/c/{conversation_id}/{message_id}/rename-branch": "name-branch",
    "/m/{message_id}/fork": "fork",
    "/c/{conversation_id}/{message_id}/compare": "compare",
    "/m/{message_id}/compare": "compare-with",
    "/m/{message_id}/edit": "edit",
    "/m/{message_id}/delete": "delete",
    "/m/{message_id}/more": "more",
    "/m/{message_id}/feedback": "feedback",
    "/t/{turn_id}/prompt": "prompt",
    "/c/{conversation_id}/tuning": "tuning",
    "/tuning": "tuning-new",
    "/c/{conversation_id}/about/{what}": "rename",
    "/chats": "chats",
    "/search": "search",
    "/settings": "settings",
    "/settings/data": "my-data",
    "/settings/data/delete": "leave",
    "/welcome": "welcome",
    "/c/{conversation_id}/share": "share",
    "/shares": "shares",
    "/s/{secret}": "shared",
    "/sign-in": "sign-in",
    "/offline": "offline",
    "/admin": "console",
    "/admin/models": "console-models",
    "/admin/channels": "console-channels",
    "/admin/channels/new": "console-new-channel",
    "/admin/settings": "console-settings",
    "/admin/audit": "audit",
    "/admin/notices": "notices",
    "/admin/accounts": "accounts",
    "/admin/plugins": "plugins",
}
"""Which page shows which route."""


def address(world: World, page: str) -> str:
    made: Any = {**PAGES, **OUTSIDE}[page](world)
    return world.site.url + str(made)
