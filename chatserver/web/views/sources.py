"""What an answer cites: chips where it names a number, the list below it, and the tab that shows the passages."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from html import escape

import msgspec

from chatserver.domain.messages import CitationPart, Message, Parts
from chatserver.domain.sources import citations_of, is_address
from chatserver.words import gettext as _

_MARK = re.compile(r'<a data-cite="(\d{1,3})"></a>')
"""What web/dialect.py leaves where a known number stands; nothing a model writes can look like it."""


class SourceView(msgspec.Struct, frozen=True):
    """name: all of it in words. href: where its chip leads. url: a plugin's page with the passage, '' for none; web: an
    address elsewhere. is_named: the answer names its number."""

    number: int
    title: str
    place: str
    name: str
    href: str
    url: str = ""
    web: str = ""
    is_named: bool = False
    is_inside: bool = False
    """The chip leads to a place in the same page."""


class SourcesView(msgspec.Struct, frozen=True):
    """The tab: the sources of one answer, one of them shown. message_id '': no answer on the branch was given any."""

    conversation_id: str
    tip_id: str
    message_id: str = ""
    sources: tuple[SourceView, ...] = ()
    opened: int = 0


def numbers_of(parts: Parts) -> frozenset[int]:
    return frozenset(part.number for part in citations_of(parts))


def source_views(message: Message) -> tuple[SourceView, ...]:
    """Of one's own answer: each chip leads to the tab beside the chat."""
    if message.role != "assistant":
        return ()
    base = f"/c/{message.conversation_id}/{message.id}/sources?open="
    return tuple(_view(part, f"{base}{part.number}") for part in citations_of(message.parts))


def sources_inside(message: Message) -> tuple[SourceView, ...]:
    """Of an answer that others read, or that was taken away: each chip leads to the list below the answer."""
    if message.role != "assistant":
        return ()
    return tuple(
        msgspec.structs.replace(_view(part, f"#s-{message.id}-{part.number}"), url="", web="", is_inside=True)
        for part in citations_of(message.parts)
    )


def with_chips(html: str, sources: Sequence[SourceView]) -> tuple[str, tuple[SourceView, ...]]:
    """Rendered words with a chip for each number, and the sources with those marked that are named."""
    known = {source.number: source for source in sources}
    named: set[int] = set()

    def chip(found: re.Match[str]) -> str:
        source = known[int(found[1])]
        named.add(source.number)
        beside = "" if source.is_inside else ' data-room="panel"'
        return (
            f'<a class="cite" href="{escape(source.href)}"{beside} aria-label="{escape(source.name)}">'
            f"{source.number} <bdi>{escape(source.title)}</bdi></a>"
        )

    html = _MARK.sub(chip, html)
    return html, tuple(msgspec.structs.replace(one, is_named=one.number in named) for one in sources)


def sources_view(
    conversation_id: str, tip_id: str, path: Sequence[Message], opened: int, *, leads: Callable[[str], bool]
) -> SourcesView:
    """The sources of the newest answer of a branch that was given any. opened: a number, 0 for the first. leads:
    whether a page of a plugin is there."""
    for message in reversed(path):
        if sources := source_views(message):
            sources = tuple(one if leads(one.url) else msgspec.structs.replace(one, url="") for one in sources)
            shown = opened if any(one.number == opened for one in sources) else sources[0].number
            return SourcesView(conversation_id, tip_id, message.id, sources, shown)
    return SourcesView(conversation_id, tip_id)


def source_lines(message: Message) -> list[str]:
    """For a file of plain text."""
    return [f"[{one.number}] {one.title}{f', {one.place}' if one.place else ''}" for one in sources_inside(message)]


def _view(part: CitationPart, href: str) -> SourceView:
    page = _("page {number}").format(number=part.page) if part.page else ""
    place = ", ".join(filter(None, (page, part.place)))
    title = f"{part.source}, {place}" if place else part.source
    url = part.url if is_address(part.url) else ""
    return SourceView(
        number=part.number,
        title=part.source,
        place=place,
        name=_("Source {number}: {title}").format(number=part.number, title=title),
        href=href,
        url=url if url.startswith("/") else "",
        web="" if url.startswith("/") else url,
    )
