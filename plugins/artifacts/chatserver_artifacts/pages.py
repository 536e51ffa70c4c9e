"""The list for programs, the tab in the panel, the chips below a message, downloads and versions by hand."""

from __future__ import annotations

import csv
import difflib
import io
import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from chatserver import (
    Actor,
    ApiAnswer,
    ApiVisit,
    BadInput,
    Context,
    NotFound,
    PageAnswer,
    PageFiles,
    PageVisit,
    Route,
    SlotContext,
)
from chatserver import gettext as _
from chatserver_artifacts.cards import Cards, kinds, label_of
from chatserver_artifacts.edits import Edits
from chatserver_artifacts.frame import Frame
from chatserver_artifacts.shelf import Artifact, Shelf, Version

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))
TEXT_MOST = 400_000
ROWS_MOST = 200
ENDINGS = {"html": "html", "svg": "svg", "mermaid": "mmd", "markdown": "md", "csv": "csv", "code": "txt"}
_NUMBER = re.compile(r"[-+−]?[\d\s.,'’]*\d\s*[%€$£¥]?", re.ASCII)
_LANGUAGE_ENDINGS = {
    "python": "py",
    "javascript": "js",
    "typescript": "ts",
    "rust": "rs",
    "bash": "sh",
    "shell": "sh",
    "ruby": "rb",
    "kotlin": "kt",
    "csharp": "cs",
}


class Line(msgspec.Struct, frozen=True):
    """An artifact as the list tells it."""

    id: str
    title: str
    type: str
    versions: list[VersionLine]
    language: str = ""


class VersionLine(msgspec.Struct, frozen=True):
    number: int
    message_id: str
    is_whole: bool
    is_by_hand: bool


class Listed(msgspec.Struct, frozen=True):
    artifacts: list[Line]


class Shown(msgspec.Struct, frozen=True):
    """One version as the panel shows it. view: preview, source or changes. made: which one of its message's it is,
    where that is being written; kinds: for the script that looks on. numeric: columns of
    the table that hold numbers; has_more: it is longer than its rows."""

    artifact: Artifact
    version: Version
    view: str
    is_run: bool = False
    frame: str = ""
    picture: str = ""
    markup: str = ""
    rows: list[list[str]] = []
    numeric: frozenset[int] = frozenset()
    has_more: bool = False
    changes: list[tuple[str, str]] = []
    label: str = ""
    made: str = ""
    kinds: str = ""


class Pages:
    def __init__(self, shelf: Shelf, edits: Edits, frame: Frame, cards: Cards) -> None:
        self._cards = cards
        self._shelf = shelf
        self._edits = edits
        self._frame = frame

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def routes(self) -> list[Route]:
        return [
            Route("/", api=self.tell),
            Route("/download/{conversation}/{artifact}", api=self.download),
            Route("/panel/{conversation}", page=self.show),
            Route("/panel/{conversation}/{tip}", page=self.show),
            Route("/panel/{conversation}/{tip}/{artifact}", page=self.edit, methods=("POST",)),
        ]

    async def render(self, context: SlotContext) -> str | None:
        if context.slot == "panel.tab" and context.conversation_id:
            return str(self._ctx.pages.render("tab.html", conversation_id=context.conversation_id, is_here=False))
        if context.slot == "message.writing" and context.conversation_id:
            return self._cards.growing(context.conversation_id, context.message_id)
        if context.slot != "message.footer" or not context.conversation_id:
            return None
        actor = Actor(context.account, "web")
        try:
            found = await self._shelf.of_message(actor, context.message_id)
        except NotFound:
            return None
        plain = {one.id: one for one in found if not one.is_named}
        if not plain:  # what has a card has no chip
            return None
        return str(
            self._ctx.pages.render(
                "chips.html",
                found=list(plain.values()),
                conversation_id=context.conversation_id,
                message_id=context.message_id,
            )
        )

    async def tell(self, visit: ApiVisit) -> ApiAnswer:
        """GET ?conversation=&tip=: what the branch holds."""
        conversation_id = visit.query.get("conversation", "")
        if not conversation_id:
            raise BadInput("Name a conversation: ?conversation=ID.", code="no_conversation", status=422)
        artifacts = await self._shelf.of_branch(visit.actor, conversation_id, visit.query.get("tip") or None)
        return ApiAnswer(Listed([_line(artifact) for artifact in artifacts]))

    async def download(self, visit: ApiVisit) -> ApiAnswer:
        """GET ?tip=&version=: the text as a file, which no browser shows as a page."""
        tip = visit.query.get("tip") or None
        artifact = await self._shelf.one(visit.actor, visit.path["conversation"], tip, visit.path["artifact"])
        version = _version(artifact, visit.query.get("version", ""))
        return ApiAnswer(
            body=version.text.encode(),
            media_type="application/octet-stream",
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{quote(file_name(artifact))}",
                "content-security-policy": "sandbox; default-src 'none'",
            },
        )

    async def show(self, visit: PageVisit) -> PageAnswer:
        return await self._panel(visit)

    async def edit(self, visit: PageVisit) -> PageAnswer:
        conversation_id, tip_id = visit.path["conversation"], visit.path["tip"]
        artifact = await self._shelf.one(visit.actor, conversation_id, tip_id, visit.path["artifact"])
        version = _version(artifact, visit.form.get("version", ""))
        text = visit.form.get("text", "").replace("\r\n", "\n")
        if not text.strip() or len(text) > TEXT_MOST:
            problem = BadInput(_("Write something, and not more than 400,000 characters."), code="bad_text", status=422)
            if visit.is_htmx:
                raise problem
            return await self._panel(visit, problem=problem)
        if text.strip() != version.text.strip():
            await self._edits.add(visit.actor.account_id, conversation_id, version.message_id, artifact.id, text)
        return visit.go(f"/x/artifacts/panel/{conversation_id}/{tip_id}?open={artifact.id}")

    async def _panel(self, visit: PageVisit, *, problem: Exception | None = None) -> PageAnswer:
        conversation_id, tip_id = visit.path["conversation"], visit.path.get("tip", "")
        artifacts = await self._shelf.of_branch(visit.actor, conversation_id, tip_id or None)
        wanted = visit.query.get("open", visit.path.get("artifact", ""))
        artifact = next((one for one in artifacts if one.id == wanted), None)
        if "made" in visit.query and tip_id:
            artifact = await self._counted(visit, tip_id, artifacts)
        if artifact is None and len(artifacts) == 1 and "all" not in visit.query:
            artifact = artifacts[0]
        shown = None
        if artifact is not None:
            shown = await self._shown(visit, conversation_id, tip_id, artifact)
            label = label_of(artifact.kind, artifact.language) if artifact.id else ""
            shown = msgspec.structs.replace(shown, label=label)
        values = {
            "conversation_id": conversation_id,
            "tip_id": tip_id,
            "artifacts": artifacts,
            "shown": shown,
            "label_of": label_of,
            "base": f"/x/artifacts/panel/{conversation_id}{'/' + tip_id if tip_id else ''}",
        }
        if visit.is_htmx and problem is None:
            return visit.fragment("panel.html", **values)
        return await visit.page("page.html", problem=problem, **values)

    async def _counted(self, visit: PageVisit, message_id: str, artifacts: Sequence[Artifact]) -> Artifact | None:
        """What the script counted in a message; when that is being written and not kept so far, the beginning of it."""
        number = visit.query["made"]
        message = await self._shelf.message(visit.actor, message_id)
        named = [one.id for one in self._shelf.found(visit.actor, message) if one.is_named]
        if number.isascii() and number.isdigit() and int(number) < len(named):
            return next((one for one in artifacts if one.id == named[int(number)]), None)
        if message.state != "running":
            return None
        return Artifact("", "code", "", "", (Version(1, message_id, "", is_whole=False, is_growing=True),))

    async def _shown(self, visit: PageVisit, conversation_id: str, tip_id: str, artifact: Artifact) -> Shown:
        version = _version(artifact, visit.query.get("version", ""))
        view = visit.query.get("view", "preview")
        if version.is_growing and not version.is_whole:
            return Shown(artifact, version, "source", made=visit.query.get("made", "0"), kinds=kinds())
        if view == "changes" and version.number > 1:
            before = artifact.versions[version.number - 2]
            return Shown(artifact, version, "changes", changes=changes(before.text, version.text))
        if view == "source" or artifact.kind == "code":
            code = fenced(version.text, artifact.language or artifact.kind)
            return Shown(artifact, version, "source", markup=await self._ctx.pages.markdown(code))
        if artifact.kind == "svg":
            picture = f"data:image/svg+xml;base64,{b64encode(version.text.encode()).decode()}"
            return Shown(artifact, version, "preview", picture=picture)
        if artifact.kind == "markdown":
            return Shown(artifact, version, "preview", markup=await self._ctx.pages.markdown(version.text))
        if artifact.kind == "csv":
            rows = table(version.text)
            has_more = len(rows) > ROWS_MOST
            return Shown(artifact, version, "preview", rows=rows[:ROWS_MOST], numeric=numeric(rows), has_more=has_more)
        if "run" not in visit.query:
            return Shown(artifact, version, "preview")
        is_still = visit.query["run"] == "still"
        frame = self._frame.address(visit.actor, conversation_id, tip_id, artifact, version, is_still=is_still)
        return Shown(artifact, version, "preview", is_run=True, frame=frame)


def fenced(text: str, language: str) -> str:
    """As a block of code, whatever fences are in it."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{' '.join(language.split()[:1])}\n{text}\n{fence}\n"


def changes(before: str, after: str) -> list[tuple[str, str]]:
    """Lines as ("+", "-" or " ", text), with three of context."""
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=3)
    return [(line[:1], line[1:]) for line in list(lines)[2:]]


def table(text: str) -> list[list[str]]:
    """The first rows, one more than are shown, all as long as the longest."""
    sample = text[:4096]
    delimiter = max(",;\t|", key=sample.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row:
                rows.append(row)
            if len(rows) > ROWS_MOST:
                break
    except csv.Error:
        return rows
    width = max((len(row) for row in rows), default=0)
    return [row + [""] * (width - len(row)) for row in rows]


def numeric(rows: Sequence[Sequence[str]]) -> frozenset[int]:
    """The columns that hold numbers below their head, and nothing else."""
    columns = zip(*rows[1:], strict=True)
    return frozenset(
        at
        for at, cells in enumerate(columns)
        if any(cells) and all(_NUMBER.fullmatch(cell.strip()) for cell in cells if cell)
    )


def file_name(artifact: Artifact) -> str:
    plain = re.sub(r"[^\w.-]+", "-", artifact.title or artifact.kind).strip("-.")[:60] or artifact.kind
    ending = _LANGUAGE_ENDINGS.get(artifact.language, artifact.language) if artifact.kind == "code" else ""
    if not re.fullmatch(r"[a-z0-9]{1,8}", ending):
        ending = ENDINGS[artifact.kind]
    return plain if plain.endswith(f".{ending}") else f"{plain}.{ending}"


def _line(artifact: Artifact) -> Line:
    versions = [VersionLine(one.number, one.message_id, one.is_whole, one.is_by_hand) for one in artifact.versions]
    return Line(artifact.id, artifact.title, artifact.kind, versions, artifact.language)


def _version(artifact: Artifact, number: str) -> Version:
    """The one asked for, else the last."""
    if number.isascii() and number.isdigit() and 1 <= int(number) <= len(artifact.versions):
        return artifact.versions[int(number) - 1]
    return artifact.versions[-1]
