"""The list of chats, and what search found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from urllib.parse import quote

import msgspec

from chatserver.domain.conversations import ConversationLine, Hit
from chatserver.domain.extend import NavItem
from chatserver.web.views.times import day_title, moment_of
from chatserver.words import gettext as _


class LineView(msgspec.Struct, frozen=True):
    """A conversation in the sidebar."""

    id: str
    title: str
    href: str
    is_current: bool = False
    is_running: bool = False
    branches: int = 1


class LineGroup(msgspec.Struct, frozen=True):
    title: str
    lines: tuple[LineView, ...]


class Sidebar(msgspec.Struct, frozen=True):
    groups: tuple[LineGroup, ...] = ()
    more_href: str = ""
    nav: tuple[NavItem, ...] = ()


class HitView(msgspec.Struct, frozen=True):
    href: str
    title: str
    passage: str
    when: str


def sidebar(
    lines: Iterable[ConversationLine],
    *,
    current: str = "",
    now_us: int,
    zone: tzinfo | None = None,
    after: str = "",
    below: str = "",
    nav: Sequence[NavItem] = (),
) -> Sidebar:
    """Conversations grouped by day: pinned, today, yesterday, the week, then months.

    after: the cursor of the lines that follow. below: the group the first line stands under already.
    """
    today = moment_of(now_us, zone)
    groups: dict[str, list[LineView]] = {}
    for line in lines:
        title = _("Pinned") if line.pinned else day_title(line.updated_at, today, zone)
        groups.setdefault(title, []).append(
            LineView(
                id=line.id,
                title=line.title or _("New chat"),
                href=f"/c/{line.id}",
                is_current=line.id == current,
                is_running=line.is_running,
                branches=line.branches,
            )
        )
    pinned = groups.pop(_("Pinned"), None)
    ordered = ([(_("Pinned"), pinned)] if pinned else []) + list(groups.items())
    more_href = f"/chats?after={after}&below={quote(ordered[-1][0])}" if after and ordered else ""
    shown = tuple(LineGroup("" if title == below else title, tuple(found)) for title, found in ordered)
    return Sidebar(shown, more_href, tuple(nav))


def hit_views(hits: Iterable[Hit], *, now_us: int, zone: tzinfo | None = None) -> tuple[HitView, ...]:
    today = moment_of(now_us, zone)
    return tuple(
        HitView(
            href=f"/c/{hit.conversation_id}/{hit.message_id}/latest#m-{hit.message_id}"
            if hit.message_id
            else f"/c/{hit.conversation_id}",
            title=hit.title or _("New chat"),
            passage=hit.text if hit.message_id else "",
            when=day_title(hit.at, today, zone) if hit.at else "",
        )
        for hit in hits
    )
