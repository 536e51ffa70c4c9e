"""What was sent for a reply, to be shown exactly: stretches of its branch by number, all else once, by its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from chatserver.domain.calls import estimate_tokens
from chatserver.domain.extend import ChatRequest, PromptMessage, ToolSpec
from chatserver.domain.messages import CitationPart, FilePart, ImagePart, Part, Role, text_of
from chatserver.domain.turns import Turn

Source = Literal["branch", "added", "hidden"]


class Stretch(msgspec.Struct, frozen=True, tag="branch", tag_field="of"):
    """Messages the branch gave, counted from the first that was sent; `end` is not among them."""

    start: int
    end: int


class Added(msgspec.Struct, frozen=True, tag="added", tag_field="of"):
    """A message that is not in the branch, or not as it stands there. text: the hash it is kept under."""

    text: str


class Hidden(msgspec.Struct, frozen=True, tag="hidden", tag_field="of"):
    """A message whose author shows it to nobody: only that it was there, and about how large, is kept."""

    role: Role
    tokens: int


Piece = Stretch | Added | Hidden


class PromptRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """tip_id: where the branch ended that was sent; messages: how many of its last were. digest: of what was sent, so
    that a later version that reads the branch otherwise notices. tools: the hash they are kept under, '' for none.
    unseen: the files of pictures that only their names were sent of."""

    model: str
    tip_id: str | None
    messages: int
    pieces: tuple[Piece, ...]
    digest: str
    max_output: int = 0
    parameters: dict[str, Any] = {}
    tools: str = ""
    is_cleared: bool = False
    unseen: tuple[str, ...] = ()


class SentMessage(msgspec.Struct, frozen=True):
    """A message as it went upstream, and whose it is; of a hidden one only its size is told."""

    message: PromptMessage
    source: Source
    tokens: int


class SentPrompt(msgspec.Struct, frozen=True):
    """All that was asked for a turn. is_exact: False when the branch gives something else today than it did then.
    unseen: the files of pictures that only their names were sent of."""

    turn: Turn
    messages: tuple[SentMessage, ...]
    tools: tuple[ToolSpec, ...]
    parameters: dict[str, Any]
    max_output: int
    is_cleared: bool
    is_exact: bool
    unseen: tuple[str, ...] = ()


Texts = dict[str, str]
"""What is kept by its hash, as JSON."""

_encode = msgspec.json.Encoder().encode
_decode_message = msgspec.json.Decoder(PromptMessage).decode
_decode_tools = msgspec.json.Decoder(tuple[ToolSpec, ...]).decode
encode_record = msgspec.json.Encoder().encode
decode_record = msgspec.json.Decoder(PromptRecord).decode


def record_prompt(
    request: ChatRequest, branch: Sequence[PromptMessage], tip_id: str | None, messages: int, *, is_cleared: bool
) -> tuple[PromptRecord, Texts]:
    """What to keep of a request. branch: what to_prompt made of the last `messages` messages down to tip_id."""
    known = [as_kept(message) for message in branch]
    places: dict[PromptMessage, int] = {}
    texts: Texts = {}
    pieces: list[Piece] = []
    sent: list[PromptMessage] = []
    at = 0
    for message in request.messages:
        if message.is_hidden:
            pieces.append(Hidden(message.role, estimate_tokens(text_of(message.parts))))
            sent.append(_covered(message.role))
            continue
        kept = as_kept(message)
        sent.append(kept)
        place = at if at < len(known) and known[at] == kept else -1
        if place < 0:
            places = places or {one: number for number, one in enumerate(known)}
            place = places.get(kept, -1)
        if place < at:
            pieces.append(Added(_keep(texts, _encode(kept))))
            continue
        last = pieces[-1] if pieces else None
        if isinstance(last, Stretch) and last.end == place:
            pieces[-1] = Stretch(last.start, place + 1)
        else:
            pieces.append(Stretch(place, place + 1))
        at = place + 1
    record = PromptRecord(
        model=request.model,
        tip_id=tip_id,
        messages=messages,
        pieces=tuple(pieces),
        digest=_digest(sent),
        max_output=request.max_output,
        parameters=request.parameters,
        tools=_keep(texts, _encode(request.tools)) if request.tools else "",
        is_cleared=is_cleared,
        unseen=tuple(dict.fromkeys(_unseen(request.messages))),
    )
    return record, texts


def restore_prompt(
    record: PromptRecord, turn: Turn, branch: Sequence[PromptMessage], texts: Mapping[str, str]
) -> SentPrompt:
    """What a record tells of. branch: what to_prompt makes today of the messages it names."""
    known = [as_kept(message) for message in branch]
    sent: list[SentMessage] = []
    for piece in record.pieces:
        if isinstance(piece, Hidden):
            sent.append(SentMessage(_covered(piece.role), "hidden", piece.tokens))
        elif isinstance(piece, Added):
            if piece.text in texts:
                sent.append(_sent(_decode_message(texts[piece.text]), "added"))
        else:
            sent += [_sent(message, "branch") for message in known[piece.start : piece.end]]
    return SentPrompt(
        turn=turn,
        messages=tuple(sent),
        tools=_decode_tools(texts[record.tools]) if record.tools in texts else (),
        parameters=record.parameters,
        max_output=record.max_output,
        is_cleared=record.is_cleared,
        is_exact=_digest([one.message for one in sent]) == record.digest,
        unseen=record.unseen,
    )


def texts_of(record: PromptRecord) -> set[str]:
    """The hashes a record names."""
    named = {piece.text for piece in record.pieces if isinstance(piece, Added)}
    return named | {record.tools} if record.tools else named


def as_kept(message: PromptMessage) -> PromptMessage:
    """A message without the content of its files and passages: they are named, and read where they lie."""
    if not any(isinstance(part, (ImagePart, FilePart, CitationPart)) for part in message.parts):
        return message
    return msgspec.structs.replace(message, parts=tuple(_named(part) for part in message.parts))


def _unseen(messages: Sequence[PromptMessage]) -> Iterator[str]:
    for message in messages:
        for part in message.parts if not message.is_hidden else ():
            if isinstance(part, ImagePart) and part.file_id and not part.url:
                yield part.file_id


def _named(part: Part) -> Part:
    if isinstance(part, ImagePart) and part.file_id:
        return msgspec.structs.replace(part, url="")
    if isinstance(part, FilePart):
        return msgspec.structs.replace(part, text="", tokens=0)
    if isinstance(part, CitationPart):
        return msgspec.structs.replace(part, text="")
    return part


def _covered(role: Role) -> PromptMessage:
    return PromptMessage(role, (), is_hidden=True)


def _sent(message: PromptMessage, source: Source) -> SentMessage:
    return SentMessage(message, source, estimate_tokens(text_of(message.parts)))


def _keep(texts: Texts, body: bytes) -> str:
    name = hashlib.blake2b(body, digest_size=16).hexdigest()
    texts[name] = body.decode()
    return name


def _digest(messages: Sequence[PromptMessage]) -> str:
    return hashlib.blake2b(_encode(messages), digest_size=16).hexdigest()
