"""One chat as a file to take away: Markdown, HTML that needs nothing else, or JSON that can be read in again."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import unicodedata
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import tzinfo
from urllib.parse import quote

import msgspec

import chatserver
from chatserver.chat.exports import conversation_line
from chatserver.chat.transcripts import Transcript
from chatserver.clock import now_us
from chatserver.domain.exports import FORMAT, VERSION, ExportFormat, MessageLine
from chatserver.domain.messages import (
    ArtifactPart,
    FilePart,
    ImagePart,
    Message,
    encode_parts,
    reasoning_of,
    text_of,
)
from chatserver.domain.transcripts import Place, TranscriptItem
from chatserver.web import assets, figures, templating, views
from chatserver.web.markdown import render
from chatserver.words import gettext as _

MEDIA_TYPES: Mapping[ExportFormat, str] = {
    "md": "text/markdown; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "json": "application/json",
}
POLICY = "sandbox; default-src 'none'"
"""Of a download, should a browser show it after all."""
NAME_CHARS = 80
MARK = "<!-- messages -->"
_NOT_IN_NAMES = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|%]+')

_encode = msgspec.json.Encoder().encode


class Reading(msgspec.Struct, frozen=True):
    """For whom a chat is written out: names of models by id, the time zone; thoughts: with the model's reasoning
    and its tools.
    is_numbered: every message has its number."""

    titles: dict[str, str]
    zone: tzinfo | None
    thoughts: bool = False
    is_numbered: bool = False

    def author(self, message: Message) -> str:
        if message.role == "assistant":
            return self.titles.get(message.model, message.model) or _("Assistant")
        return {"system": _("System"), "tool": _("Tool")}.get(message.role, _("You"))


def write(transcript: Transcript, kind: ExportFormat, reading: Reading) -> AsyncIterator[bytes]:
    """The file in pieces, so that a chat of any length takes the memory of a page."""
    writers: dict[ExportFormat, Callable[[Transcript, Reading], AsyncIterator[bytes]]] = {
        "md": _markdown,
        "html": _html,
        "json": _json,
    }
    return writers[kind](transcript, reading)


async def pack(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, packed with gzip as it comes, in a thread."""
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    async for piece in pieces:
        if packed := await asyncio.to_thread(packer.compress, piece):
            yield packed
    yield packer.flush()


def disposition(title: str, kind: str) -> str:
    """The header that names a download after a title, whatever it is made of."""
    name = _NOT_IN_NAMES.sub(" ", unicodedata.normalize("NFC", title))
    name = " ".join("".join(one for one in name if one.isprintable()).split())[:NAME_CHARS].strip(" .~-")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain = re.sub(r"[^A-Za-z0-9._ -]+", "", plain).strip(" .") or "chat"
    whole = quote(f"{name or 'chat'}.{kind}", safe="")
    return f"attachment; filename=\"{plain}.{kind}\"; filename*=UTF-8''{whole}"


# --- JSON -----------------------------------------------------------------------------------------------------------


async def _json(transcript: Transcript, reading: Reading) -> AsyncIterator[bytes]:
    """docs/export-format.md says what is in it."""
    head = {
        "type": "chat",
        "format": FORMAT,
        "version": VERSION,
        "program": f"chatserver {chatserver.__version__}",
        "exported_at": now_us(),
        "conversation": conversation_line(transcript.conversation),
    }
    yield _encode(head)[:-1] + b',"messages":[\n'
    comma = b""
    async for page in transcript.pages():
        lines = [_encode(_line_of(item)) for item in page]
        yield comma + b",\n".join(lines)
        comma = b",\n"
    yield b"\n]}\n"


def _line_of(item: TranscriptItem) -> MessageLine:
    message = item.message
    return MessageLine(
        id=message.id,
        parent_id=message.parent_id,
        role=message.role,
        state=message.state,
        model=message.model,
        created_at=message.created_at,
        parts=msgspec.Raw(encode_parts(message.parts)),
        continues=message.continues,
        cleared_at=message.created_at if message.cleared_after else 0,
        feedback=item.feedback,
    )


# --- Markdown -------------------------------------------------------------------------------------------------------


async def _markdown(transcript: Transcript, reading: Reading) -> AsyncIterator[bytes]:
    title = views.title_of(transcript.conversation)
    day = views.date_text(transcript.conversation.updated_at, reading.zone)
    yield f"# {' '.join(title.split())}\n\n*{day}*\n".encode()
    async for page in transcript.pages_as_read():
        yield "".join(_markdown_of(item, reading) for item in page).encode()


def _markdown_of(item: TranscriptItem, reading: Reading) -> str:
    message = item.message
    lines = []
    if not message.continues or not item.place.follows:
        lines.append(f"## {heading(item, reading)}{where_text(item.place)}")
    thoughts = reasoning_of(message.parts) if reading.thoughts else ""
    if thoughts:
        lines.append("\n".join(f"> {line}".rstrip() for line in thoughts.strip().split("\n")))
    lines += [f"*{name}*" for name in attached(message)]
    for tool in tools_of(message, reading):
        texts = (("arguments", tool.arguments), ("result", tool.result))
        fences = (f"{views.tool_word(name)}:\n\n{fenced(text)}" for name, text in texts if text)
        lines.append("\n\n".join((f"*{tool.name}*", *fences)))
    if text := text_of(message.parts).strip("\n"):
        lines.append(text)
    if cited := views.source_lines(message):
        lines.append("\n".join((f"{_('Sources')}:", "", *(f"- {one}" for one in cited))))
    if state := state_text(message):
        lines.append(f"*{state}*")
    if message.cleared_after:
        lines.append(f"---\n\n*{_('Context cleared: what stands above is not sent to the model.')}*\n\n---")
    return "".join(f"\n{line}\n" for line in lines)


# --- HTML -----------------------------------------------------------------------------------------------------------


async def _html(transcript: Transcript, reading: Reading) -> AsyncIterator[bytes]:
    css = assets.source("core", "export.css")
    page = templating.render(
        "export.html",
        title=views.title_of(transcript.conversation),
        day=views.date_text(transcript.conversation.updated_at, reading.zone),
        css=css,
        css_hash=base64.b64encode(hashlib.sha256(css.encode()).digest()).decode(),
    )
    head, _mark, tail = page.partition(MARK)
    yield head.encode()
    async for items in transcript.pages_as_read():
        yield await asyncio.to_thread(_articles, items, reading)
    yield tail.encode()


def _articles(items: list[TranscriptItem], reading: Reading) -> bytes:
    return "".join(_article(item, reading) for item in items).encode()


def _article(item: TranscriptItem, reading: Reading) -> str:
    message = item.message
    text = text_of(message.parts)
    thoughts = reasoning_of(message.parts) if reading.thoughts else ""
    is_reply = message.role == "assistant"
    html, sources = views.written(message, text, render, is_inside=True)
    return templating.render(
        "export_message.html",
        message=message,
        author=heading(item, reading),
        where=where_text(item.place),
        html=figures.without_buttons(html) if html else "",
        sources=sources,
        text="" if is_reply else text,
        thoughts=figures.without_buttons(render(thoughts)) if thoughts else "",
        attached=attached(message),
        tools=tools_of(message, reading),
        state=state_text(message),
    )


# --- what both say --------------------------------------------------------------------------------------------------


def tools_of(message: Message, reading: Reading) -> tuple[views.ToolView, ...]:
    """What tools did, which goes with the thoughts; JSON holds all of it anyhow."""
    return views.tool_views(message.parts) if reading.thoughts else ()


def fenced(text: str) -> str:
    """A block of code that no line of the text ends."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def heading(item: TranscriptItem, reading: Reading) -> str:
    """Who speaks, with the message's number where messages are referred to."""
    author = reading.author(item.message)
    return f"{item.place.number}. {author}" if reading.is_numbered else author


def where_text(place: Place) -> str:
    """What a reader needs to find the way in a tree; nothing where one message simply follows another."""
    notes = []
    if place.versions > 1:
        notes.append(_("version {index} of {total}").format(index=place.version, total=place.versions))
    if not place.follows:
        notes.append(_("answers {number}").format(number=place.below) if place.below else _("from the start"))
    return f" · {', '.join(notes)}" if notes else ""


def state_text(message: Message) -> str:
    words = {"stopped": _("Stopped"), "interrupted": _("The answer was cut off"), "failed": _("No answer came")}
    return words.get(message.state, "")


def attached(message: Message) -> list[str]:
    """The names of what was handed over with a message; the files themselves are not in it."""
    names = []
    for part in message.parts:
        if isinstance(part, ImagePart):
            names.append(_("Picture: {name}").format(name=part.alt or part.media_type))
        elif isinstance(part, FilePart):
            names.append(_("File: {name}").format(name=part.name or part.media_type))
        elif isinstance(part, ArtifactPart):
            names.append(_("Artifact: {name}").format(name=part.title or part.kind))
    return names
