"""What the pages around a share are handed: the owner's lines, and the page a reader sees."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo

import msgspec

from chatserver.domain.conversations import PathItem
from chatserver.domain.shares import Share, SharedPage
from chatserver.web.views.attachments import attachment_views
from chatserver.web.views.messages import MessageView, Render, Versions, message_views, written
from chatserver.web.views.times import date_text, moment_of, when_text
from chatserver.words import gettext as _
from chatserver.words import ngettext, number_text


class ShareLine(msgspec.Struct, frozen=True):
    """One link of somebody's, as its owner sees it. about: how much it shows, since when, until when."""

    id: str
    title: str
    href: str
    about: str
    is_over: bool = False


class SharedView(msgspec.Struct, frozen=True):
    """The page behind a link. base: its address. first: how many messages stand above those on this page."""

    base: str
    title: str
    when: str
    count: int
    messages: tuple[MessageView, ...]
    first: int = 0
    previous_href: str = ""
    next_href: str = ""


def share_lines(shares: Iterable[Share], *, now_us: int, zone: tzinfo | None = None) -> tuple[ShareLine, ...]:
    today = moment_of(now_us, zone)

    def about(share: Share) -> str:
        count = ngettext("{count} message", "{count} messages", share.messages).format(
            count=number_text(share.messages)
        )
        what = _("whole tree, {count}").format(count=count) if share.scope == "tree" else count
        since = _("shared {when}").format(when=when_text(share.created_at, today, zone))
        if share.expires_at is None:
            until = ""
        elif share.is_over(now_us):
            until = _("ended")
        else:
            until = _("until {when}").format(when=when_text(share.expires_at, today, zone))
        return " · ".join(filter(None, (f"…{share.last_four}", what, since, until)))

    return tuple(
        ShareLine(
            share.id,
            share.title or _("New chat"),
            f"/c/{share.conversation_id}/{share.tip_id}",
            about(share),
            share.is_over(now_us),
        )
        for share in shares
    )


def shared_view(
    page: SharedPage,
    *,
    base: str,
    render: Render,
    titles: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    dressed: Mapping[str, str] | None = None,
) -> SharedView:
    """The page a reader sees: words and versions; no times, no figures, nobody's name. dressed: HTML of messages that
    was made already."""
    items = [PathItem(item.message, item.versions) for item in page.items]
    shown = message_views(items, render=render, titles=titles, zone=zone, ends_here=page.next_id is None)
    here = f"{base}/b/{page.tip_id}"
    return SharedView(
        base=base,
        title=page.share.title or _("Shared chat"),
        when=date_text(page.share.created_at, zone),
        count=page.share.messages,
        messages=tuple(
            _as_shared(message, item, base, render, (dressed or {}).get(message.id, ""))
            for message, item in zip(shown, items, strict=True)
            if message.role in ("user", "assistant")
        ),
        first=page.first,
        previous_href=f"{here}?at={page.previous_id}" if page.previous_id else "",
        next_href=f"{here}?at={page.next_id}" if page.next_id else "",
    )


def _as_shared(message: MessageView, item: PathItem, base: str, render: Render, made: str) -> MessageView:
    versions = None
    if len(item.versions) > 1:
        place = item.versions.index(message.id)
        links = [f"{base}/b/{id_}/latest" for id_ in item.versions]
        versions = Versions(
            place + 1,
            len(links),
            links[place - 1] if place else "",
            links[place + 1] if place + 1 < len(links) else "",
        )
    author = message.author if message.role == "assistant" else _("Question")
    html, sources = written(item.message, message.text, render, is_inside=True, made=made)
    return msgspec.structs.replace(
        message,
        html=html,
        sources=sources,
        author=author,
        time="",
        time_iso="",
        versions=versions,
        problem=None,
        attachments=attachment_views(item.message.parts, f"{base}/files"),
    )
