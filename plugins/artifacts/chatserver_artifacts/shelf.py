"""The artifacts of a branch, each with its versions in the order they were written."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from chatserver import Actor, CitationPart, Context, FilePart, Message, NotFound, ToolResultPart, text_of
from chatserver_artifacts.edits import Edit, Edits
from chatserver_artifacts.finding import Found, Kind, find

REMEMBERED = 2_000
UNTRUSTED = (ToolResultPart, CitationPart, FilePart)


class Version(msgspec.Struct, frozen=True):
    """number: from 1. message_id: where it was written. is_tainted: what it was made from held text that nobody here
    vouches for, so whoever runs it is told. is_growing: its message is being written."""

    number: int
    message_id: str
    text: str
    is_whole: bool = True
    is_by_hand: bool = False
    is_tainted: bool = False
    is_growing: bool = False


class Artifact(msgspec.Struct, frozen=True):
    """One thing that was made, and perhaps made over. title: '' when it was given none."""

    id: str
    kind: Kind
    title: str
    language: str
    versions: tuple[Version, ...]


class Shelf:
    """Looks through messages; what a finished message holds is remembered, for it never changes."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits
        # By account and message: nobody is told what was found for another.
        self._remembered: OrderedDict[tuple[str, str], tuple[Found, ...]] = OrderedDict()

    def open(self, ctx: Context) -> None:
        self._conversations = ctx.conversations

    async def of_branch(self, actor: Actor, conversation_id: str, tip_id: str | None = None) -> list[Artifact]:
        """Raises NotFound for another's conversation, or an unknown message."""
        path = await self._conversations.path(actor, conversation_id, tip_id)
        edits = await self._edits.of_conversation(actor.account_id, conversation_id)
        return self._gather(actor, path, edits)

    async def one(self, actor: Actor, conversation_id: str, tip_id: str | None, artifact_id: str) -> Artifact:
        """Raises NotFound."""
        for artifact in await self.of_branch(actor, conversation_id, tip_id):
            if artifact.id == artifact_id:
                return artifact
        raise NotFound("There is no such artifact on this branch.")

    async def message(self, actor: Actor, message_id: str) -> Message:
        """Raises NotFound."""
        return await self._conversations.message(actor, message_id)

    async def of_message(self, actor: Actor, message_id: str) -> tuple[Found, ...]:
        if (known := self._remembered.get((actor.account_id, message_id))) is not None:
            return known
        return self.found(actor, await self.message(actor, message_id))

    def _gather(self, actor: Actor, path: list[Message], edits: list[Edit]) -> list[Artifact]:
        made: dict[str, tuple[Found, list[Version]]] = {}
        tainted = False  # what a tool or a file said is sent along with every later question
        for message in path:
            tainted = tainted or any(isinstance(part, UNTRUSTED) for part in message.parts)
            for found in self.found(actor, message):
                _, versions = made.setdefault(found.id, (found, []))
                versions.append(
                    Version(
                        len(versions) + 1,
                        message.id,
                        found.text,
                        found.is_whole,
                        is_tainted=tainted,
                        is_growing=message.state == "running",
                    )
                )
            for edit in edits:
                if edit.message_id == message.id and edit.artifact_id in made:
                    versions = made[edit.artifact_id][1]
                    versions.append(
                        Version(len(versions) + 1, message.id, edit.text, is_by_hand=True, is_tainted=tainted)
                    )
        return [
            Artifact(found.id, found.kind, found.title, found.language, tuple(versions))
            for found, versions in made.values()
        ]

    def found(self, actor: Actor, message: Message) -> tuple[Found, ...]:
        """What one message made; the actor's own."""
        if message.role != "assistant":
            return ()
        place = (actor.account_id, message.id)
        known = self._remembered.get(place)
        if known is not None:
            return known
        found = tuple(find(text_of(message.parts)))
        if message.state != "running":
            self._remembered[place] = found
            if len(self._remembered) > REMEMBERED:
                self._remembered.popitem(last=False)
        return found
