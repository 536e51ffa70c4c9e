"""The list of chats, and what search found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import tzinfo
from urllib.parse import quote

import msgspec
from markupsafe import Markup

from chatserver.domain.conversations import ConversationLine, Hit
from chatserver.domain.extend import NavItem
from chatserver.domain.filing import Folder, Tag
from chatserver.web.views.times import day_title, moment_of, when_text
from chatserver.words import gettext as _

TAGS_SHOWN = 8


class LineView(msgspec.Struct, frozen=True):
    """A conversation in the sidebar."""

    id: str
    title: str
    href: str
    is_current: bool = False
    is_running: bool = False
    branches: int = 1
    is_pinned: bool = False
    tags: tuple[str, ...] = ()
    when: str = ""


class FolderView(msgspec.Struct, frozen=True):
    """A folder in the sidebar, or among choices. is_inner: it lies in the one before it."""

    id: str
    name: str
    href: str
    chats: int
    is_inner: bool


class LineGroup(msgspec.Struct, frozen=True):
    title: str
    lines: tuple[LineView, ...]


class Sidebar(msgspec.Struct, frozen=True):
    groups: tuple[LineGroup, ...] = ()
    more_href: str = ""
    nav: tuple[NavItem, ...] = ()
    folders: tuple[FolderView, ...] = ()
    tags: tuple[str, ...] = ()
    notices: int = 0


class HitView(msgspec.Struct, frozen=True):
    """passage: escaped, with the words that were looked for marked."""

    href: str
    title: str
    passage: Markup | str
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
    folders: Sequence[Folder] = (),
    tags: Sequence[Tag] = (),
    notices: int = 0,
) -> Sidebar:
    """Conversations grouped by day: pinned, today, yesterday, the week, then months.

    after: the cursor of the lines that follow. below: the group the first line stands under already. notices: how many
    an admin has not put away.
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
    names = tuple(tag.name for tag in tags[:TAGS_SHOWN])
    return Sidebar(shown, more_href, tuple(nav), folder_views(folders), names, notices)


def folder_views(folders: Iterable[Folder]) -> tuple[FolderView, ...]:
    return tuple(
        FolderView(one.id, one.name, f"/chats?folder={one.id}", one.chats, one.parent_id is not None) for one in folders
    )


def line_views(lines: Iterable[ConversationLine], *, now_us: int, zone: tzinfo | None = None) -> tuple[LineView, ...]:
    """Chats as a plain list, the day each was last written in beside it."""
    today = moment_of(now_us, zone)
    return tuple(
        LineView(
            id=line.id,
            title=line.title or _("New chat"),
            href=f"/c/{line.id}",
            is_running=line.is_running,
            branches=line.branches,
            is_pinned=line.pinned,
            tags=line.tags,
            when=when_text(line.updated_at, today, zone),
        )
        for line in lines
    )


def marked(text: str, marks: Sequence[tuple[int, int]]) -> Markup:
    """A passage, escaped, with the places between these positions marked."""
    pieces, at = [], 0
    for start, end in marks:
        pieces += [Markup.escape(text[at:start]), Markup("<mark>{}</mark>").format(text[start:end])]
        at = end
    return Markup("").join([*pieces, Markup.escape(text[at:])])


def hit_views(hits: Iterable[Hit], *, now_us: int, zone: tzinfo | None = None) -> tuple[HitView, ...]:
    today = moment_of(now_us, zone)
    return tuple(
        HitView(
            href=f"/c/{hit.conversation_id}/{hit.message_id}/latest#m-{hit.message_id}"
            if hit.message_id
            else f"/c/{hit.conversation_id}",
            title=hit.title or _("New chat"),
            passage=marked(hit.text, hit.marks) if hit.message_id else "",
            when=day_title(hit.at, today, zone) if hit.at else "",
        )
        for hit in hits
    )
