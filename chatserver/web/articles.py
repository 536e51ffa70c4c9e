"""The finished article of a turn, as the page's stream sends it in place of the one that was being written."""

from __future__ import annotations

from html import escape

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.continued import texts_above
from chatserver.domain.conversations import PathItem
from chatserver.domain.turns import Turn
from chatserver.errors import NotFound
from chatserver.house import House
from chatserver.web import covers, slots, views
from chatserver.web.markdown import render
from chatserver.web.painter import fragment
from chatserver.web.templating import render_message


async def paint_article(house: House, actor: Actor, turn: Turn) -> str:
    """The `end` step of a turn; without an article when it was deleted meanwhile, and the page takes its own away."""
    try:
        path = await house.conversations.view(actor, turn.conversation_id, turn.reply_id)
    except NotFound:
        return fragment(turn, turn.last_seq, "end", "")
    settings = await house.accounts.settings(actor)
    titles = {model.id: model.title for model in house.models(actor)}
    lane = 1
    for item in path.items:
        if len(item.versions) > 1:
            lane = 1 + item.versions.index(item.message.id) % views.LANES
    last = msgspec.structs.replace(path, items=_last_reply(path.items))
    above = texts_above([item.message for item in last.items])
    view = views.message_view(
        path.items[-1],
        render=render,
        titles=titles,
        zone=views.zone_of(str(settings.get("timezone", ""))),
        lane=lane,
        dressed=await covers.dress(house.plugins, actor.account, last),
        above=above.get(turn.reply_id, ""),
    )
    # a title that was made before the page began to listen would never be told otherwise
    title = paint_title(turn, path.conversation.title) if path.conversation.title_source == "auto" else ""
    slot = await slots.fill(
        house.plugins, actor.account, conversation_id=turn.conversation_id, message_ids=(turn.reply_id,), page=False
    )
    return fragment(turn, turn.last_seq, "end", render_message(view, slot, str(settings.get("look", "")))) + title


def _last_reply(items: tuple[PathItem, ...]) -> tuple[PathItem, ...]:
    """The end of a path, from where its last reply began."""
    start = len(items) - 1
    while start and items[start].message.continues:
        start -= 1
    return items[start:]


def paint_title(turn: Turn, title: str) -> str:
    """A new title for the head and the sidebar."""
    return f'<template data-op="title" data-conversation="{turn.conversation_id}">{escape(title)}</template>'
