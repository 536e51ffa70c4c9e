"""What a model is shown of the files in its messages: pictures as data, texts as texts, of all else the name."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence

import msgspec

from chatserver.chat.files import Files
from chatserver.domain.access import Account, Actor
from chatserver.domain.extend import PromptMessage
from chatserver.domain.files import spell_out
from chatserver.domain.messages import CitationPart, FilePart, ImagePart, Part, TextPart
from chatserver.domain.models import Model
from chatserver.domain.sources import spell_passage
from chatserver.errors import NotFound

PICTURES_MAX_BYTES = 20_000_000
"""Of one prompt, the newest first: with what base64 adds, the 32 MB that vendors take at most."""
SPELLED = (ImagePart, FilePart, CitationPart)


class Showing:
    """Fills in what messages only name. Everything is read in the account's own name."""

    def __init__(self, files: Files) -> None:
        self._files = files

    async def fill(
        self, messages: Sequence[PromptMessage], model: Model, account: Account
    ) -> tuple[PromptMessage, ...]:
        """The same messages with `url` of pictures and `text` of texts filled in. Pictures stay as they are for a model
        that cannot see, and where they are too many; so does what is not there any more. Raises Unavailable."""
        if not any(isinstance(part, ImagePart | FilePart) for message in messages for part in message.parts):
            return tuple(messages)
        actor = Actor(account, "job")
        left_bytes = PICTURES_MAX_BYTES if model.may_see else 0
        filled: list[PromptMessage] = []
        for message in reversed(messages):
            parts: list[Part] = []
            for part in reversed(message.parts):
                if isinstance(part, ImagePart) and part.file_id and not part.url and left_bytes > 0:
                    part, used_bytes = await self._picture(actor, part, left_bytes)
                    left_bytes -= used_bytes
                elif isinstance(part, FilePart) and not part.text:
                    part = await self._text(actor, part)
                parts.append(part)
            filled.append(msgspec.structs.replace(message, parts=tuple(reversed(parts))))
        return tuple(reversed(filled))

    async def _picture(self, actor: Actor, part: ImagePart, left_bytes: int) -> tuple[ImagePart, int]:
        try:
            found = await self._files.rendition(actor, part.file_id, "model")
        except NotFound:
            return part, 0
        if found.size_bytes > left_bytes:
            return part, left_bytes  # none that is older either, or a chat would lose its pictures in turn
        data = base64.b64encode(await self._files.whole(found.sha256)).decode()
        url = f"data:{found.media_type};base64,{data}"
        return msgspec.structs.replace(part, url=url), found.size_bytes

    async def _text(self, actor: Actor, part: FilePart) -> FilePart:
        try:
            file = await self._files.get(actor, part.file_id)
        except NotFound:
            return part
        if not file.charset:
            return part
        data = await self._files.whole(file.sha256)
        text = await asyncio.to_thread(data.decode, file.charset, "replace")
        return msgspec.structs.replace(part, text=text.removeprefix("\ufeff"))


def spelled_out(messages: tuple[PromptMessage, ...]) -> tuple[PromptMessage, ...]:
    """Files, passages, and pictures that are not shown, as the text that stands for them: all that providers need to
    know is text and pictures."""
    if not any(isinstance(part, SPELLED) for message in messages for part in message.parts):
        return messages
    return tuple(
        msgspec.structs.replace(message, parts=tuple(_spelled(part) for part in message.parts))
        if any(isinstance(part, SPELLED) for part in message.parts)
        else message
        for message in messages
    )


def _spelled(part: Part) -> Part:
    if isinstance(part, FilePart) or (isinstance(part, ImagePart) and not part.url):
        return TextPart(spell_out(part))
    if isinstance(part, CitationPart):
        return TextPart(spell_passage(part))
    return part
