"""The cards that stand in answers for what they made; and, while one is written, the script that draws them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver import Actor, Context, Cover, CoverContext, Message, NotFound
from chatserver import gettext as _
from chatserver_artifacts.finding import LANGUAGES, Found
from chatserver_artifacts.shelf import Artifact, Shelf, Version

ICONS = {"html": "monitor", "svg": "activity", "mermaid": "network", "markdown": "file-text", "csv": "layout-dashboard"}
LABELS = {"html": "HTML", "svg": "SVG", "mermaid": "Mermaid", "markdown": "Markdown", "csv": "CSV"}


class Cards:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def cover(self, context: CoverContext) -> list[Cover]:
        """One for each thing of these messages that was given a kind or a title."""
        actor = Actor(context.account, "web")
        made = [(message, self._shelf.found(actor, message)) for message in context.messages]
        made = [(message, found) for message, found in made if any(one.is_named for one in found)]
        if not made:
            return []
        if context.is_shared:
            return [_cover(message, one, "") for message, found in made for one in found if one.is_named]
        branch = await self._branch(actor, context.conversation_id, made[-1][0].id)
        covers: list[Cover] = []
        for message, found in made:
            tip_id = made[-1][0].id
            here = branch
            if not _is_on(here, message):  # beside the others, as where answers are compared
                tip_id, here = message.id, await self._branch(actor, context.conversation_id, message.id)
            covers += _covers(context.conversation_id, tip_id, message, found, here)
        return covers

    def growing(self, conversation_id: str, message_id: str) -> str:
        """What a reply that is being written holds for the script."""
        href = f"/x/artifacts/panel/{conversation_id}/{message_id}"
        cover = Cover(message_id, 0, 1, "", "", href)
        return str(self._ctx.pages.render("growing.html", cover=cover, kinds=kinds()))

    async def _branch(self, actor: Actor, conversation_id: str, tip_id: str) -> list[Artifact]:
        try:
            return await self._shelf.of_branch(actor, conversation_id, tip_id)
        except NotFound:
            return []


def kinds() -> str:
    """What may stand after a fence, and the label of what it makes, as JSON for the script."""
    return msgspec.json.encode({language: LABELS[kind] for language, kind in LANGUAGES.items()}).decode()


def label_of(kind: str, language: str) -> str:
    return LABELS.get(kind) or language or _("Code")


def _is_on(branch: Sequence[Artifact], message: Message) -> bool:
    return any(version.message_id == message.id for artifact in branch for version in artifact.versions)


def _covers(
    conversation_id: str, tip_id: str, message: Message, found: Sequence[Found], branch: Sequence[Artifact]
) -> list[Cover]:
    known = {artifact.id: artifact.versions for artifact in branch}
    taken: dict[str, int] = {}
    covers = []
    for one in found:
        nth = taken[one.id] = taken.get(one.id, -1) + 1
        if not one.is_named:
            continue
        version = _version(known.get(one.id, ()), message.id, nth)
        number = version.number if version is not None else 1
        href = f"/x/artifacts/panel/{conversation_id}/{tip_id}?open={one.id}&version={number}"
        covers.append(_cover(message, one, href, _("version {number}").format(number=number)))
    return covers


def _cover(message: Message, one: Found, href: str, *notes: str) -> Cover:
    note = [label_of(one.kind, one.language), *notes]
    if not one.is_whole:
        note.append(_("unfinished"))
    return Cover(
        message.id,
        one.start,
        one.end,
        one.text,
        one.title or _("Untitled"),
        href,
        language=one.language or ("html" if one.kind == "svg" else one.kind),
        note=" · ".join(note),
        icon=ICONS.get(one.kind, "file-text"),
    )


def _version(versions: Sequence[Version], message_id: str, nth: int) -> Version | None:
    """The nth one written in a message; the last of them as it was made over by hand."""
    here = [version for version in versions if version.message_id == message_id]
    written = [version for version in here if not version.is_by_hand]
    if nth + 1 < len(written):
        return written[nth]
    return here[-1] if here else None
