"""Write accounts' conversations as lines of an export file: whole trees, in pages, beside a running server."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial

import msgspec

from chatserver.chat.blobs import Blobs
from chatserver.chat.enclosed_files import PIECE_BYTES, pieces_of
from chatserver.clock import now_us
from chatserver.domain.access import Account, Actor
from chatserver.domain.conversations import Conversation
from chatserver.domain.exports import (
    FORMAT,
    VERSION,
    AccountLine,
    ConversationLine,
    EndLine,
    FileLine,
    HeaderLine,
    MessageLine,
    encode_line,
)
from chatserver.domain.files import StoredFile, file_ids
from chatserver.domain.messages import Parts, decode_parts, encode_parts
from chatserver.domain.sources import with_citations
from chatserver.domain.tuning import UNTUNED
from chatserver.domain.turns import Delta, assemble_parts
from chatserver.errors import BadInput, LimitReached, Unavailable
from chatserver.store import exports as export_rows
from chatserver.store import files as file_rows
from chatserver.store import folders as folder_rows
from chatserver.store import sources as source_rows
from chatserver.store import turns as turn_rows
from chatserver.store.content import checked
from chatserver.store.database import Database, Tx
from chatserver.store.exports import StoredMessage

CONVERSATIONS_AT_ONCE = 100
MESSAGES_AT_ONCE = 500


class Exported(msgspec.Struct):
    """How much was written so far."""

    accounts: int = 0
    conversations: int = 0
    messages: int = 0
    files: int = 0


class OwnExports:
    """Everything of an account, for whom it is; one at a time for each, since it reads all of it."""

    def __init__(self, db: Database, blobs: Blobs) -> None:
        self._db = db
        self._blobs = blobs
        self._running: set[str] = set()

    def open(self, actor: Actor, program: str) -> AsyncIterator[bytes]:
        """The file, in pieces of whole lines. Raises LimitReached `exports_per_account` before the first."""
        if actor.account_id in self._running:
            raise LimitReached(
                "Your data is being handed out already. Wait until that has ended.",
                code="exports_per_account",
                retry_after_s=10,
            )
        return self._write(actor, program)

    async def _write(self, actor: Actor, program: str) -> AsyncIterator[bytes]:
        self._running.add(actor.account_id)
        try:
            async for piece in Exports(self._db, program, self._blobs).export([actor.account]):
                yield piece
        finally:
            self._running.discard(actor.account_id)


class Exports:
    """written: filled in while export() goes on. blobs: where the content of files lies; None leaves files out."""

    def __init__(self, db: Database, program: str, blobs: Blobs | None = None) -> None:
        self._db = db
        self._program = program
        self._blobs = blobs
        self._files: set[str] = set()
        self.written = Exported()

    async def export(self, accounts: Sequence[Account]) -> AsyncIterator[bytes]:
        """The file, in pieces of whole lines. Each tree is whole: what is written while this goes on may be in it or
        not, and nothing stands before its parent."""
        yield encode_line(HeaderLine(FORMAT, VERSION, self._program, now_us()))
        for account in accounts:
            self.written.accounts += 1
            self._files.clear()
            yield encode_line(AccountLine(account.email))
            async for piece in self._conversations(Actor(account, "job")):
                yield piece
        written = self.written
        yield encode_line(EndLine(written.accounts, written.conversations, written.messages, written.files))

    async def _conversations(self, actor: Actor) -> AsyncIterator[bytes]:
        after = ""
        while page := await self._db.read(
            partial(export_rows.conversations_after, actor=actor, after=after, limit=CONVERSATIONS_AT_ONCE)
        ):
            for conversation in page:
                async for piece in self._tree(conversation):
                    yield piece
            after = page[-1].id

    async def _tree(self, conversation: Conversation) -> AsyncIterator[bytes]:
        self.written.conversations += 1
        line = conversation_line(conversation)
        if conversation.folder_id:
            owner, wanted = conversation.owner_id, conversation.folder_id
            line = msgspec.structs.replace(
                line, folder=await self._db.read(lambda tx: folder_rows.path_of(tx, owner, wanted))
            )
        lines = [encode_line(line)]
        after = ""
        while True:
            page = await self._db.read(partial(_messages, conversation_id=conversation.id, after=after))
            if self._blobs is not None and (named := _file_ids(page, self._files)):
                yield b"".join(lines)
                lines = []
                async for piece in self._named(conversation.owner_id, named, self._blobs):
                    yield piece
            lines += [encode_line(_message_line(message)) for message in page]
            self.written.messages += len(page)
            yield b"".join(lines)
            if len(page) < MESSAGES_AT_ONCE:
                return
            lines, after = [], page[-1].id

    async def _named(self, owner_id: str, named: Sequence[str], blobs: Blobs) -> AsyncIterator[bytes]:
        """The files some messages hold, each with its content; what there is no more stays a name in its message."""
        self._files.update(named)
        for file_id in named:
            file = await self._db.read(partial(file_rows.file_owned_by, owner_id=owner_id, file_id=file_id))
            if file is not None:
                self.written.files += 1
                async for piece in _lines_of(blobs, file):
                    yield piece


async def _lines_of(blobs: Blobs, file: StoredFile) -> AsyncIterator[bytes]:
    """A file with its content; what is not in the store any more, or is not what was put there, is told as lost."""
    line = FileLine(file.id, file.name, file.media_type, file.size_bytes, file.sha256)
    with tempfile.SpooledTemporaryFile(PIECE_BYTES, dir=str(blobs.spool)) as copy:
        try:
            async with aclosing(blobs.read(file.sha256)) as chunks:
                async for chunk in checked(file.sha256, file.size_bytes, chunks):
                    copy.write(chunk)
        except (Unavailable, BadInput) as error:
            if error.code not in ("content_missing", "wrong_content"):
                raise
            yield encode_line(FileLine(line.id, line.name, line.media_type, line.size_bytes, line.sha256, is_lost=True))
            return
        yield encode_line(line)
        for piece in pieces_of(copy):
            yield piece


def _file_ids(page: Sequence[StoredMessage], known: set[str]) -> list[str]:
    """The files a page of messages holds that were not written yet."""
    found: dict[str, None] = {}
    for message in page:
        if '"file_id"' in message.parts:
            found.update(dict.fromkeys(file_ids(decode_parts(message.parts))))
    return [one for one in found if one not in known]


def _messages(tx: Tx, conversation_id: str, after: str) -> list[StoredMessage]:
    page = export_rows.messages_after(tx, conversation_id, after, MESSAGES_AT_ONCE)
    return [_as_it_stands(tx, conversation_id, one) if one.state == "running" else one for one in page]


def _as_it_stands(tx: Tx, conversation_id: str, message: StoredMessage) -> StoredMessage:
    """A reply that is still being written, as it would be kept if it ended now."""
    parts = encode_parts(parts_so_far(tx, conversation_id, message.id)).decode()
    return msgspec.structs.replace(message, state="interrupted", parts=parts)


def parts_so_far(tx: Tx, conversation_id: str, message_id: str) -> Parts:
    """What is stored already of a reply that is still being written."""
    turn = turn_rows.turn_by_reply(tx, conversation_id, message_id)
    deltas: list[Delta] = []
    if turn is not None:
        for row in turn_rows.events_after(tx, turn.id, 0, 1_000_000):
            deltas.extend(row.deltas)
    citations = source_rows.sources_of(tx, turn) if turn is not None else ()
    return with_citations(assemble_parts(deltas), citations)


def conversation_line(conversation: Conversation) -> ConversationLine:
    return ConversationLine(
        id=conversation.id,
        title=conversation.title,
        title_source=conversation.title_source,
        tip_id=conversation.tip_id,
        model=conversation.model,
        pinned=conversation.pinned,
        archived=conversation.archived,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        tuning=None if conversation.tuning == UNTUNED else conversation.tuning,
        tags=conversation.tags,
    )


def _message_line(message: StoredMessage) -> MessageLine:
    return MessageLine(
        id=message.id,
        parent_id=message.parent_id,
        role=message.role,
        state=message.state,
        model=message.model,
        created_at=message.created_at,
        parts=msgspec.Raw(message.parts.encode()),
        continues=message.continues,
        cleared_at=message.cleared_at,
        feedback=message.feedback,
        branch=message.branch,
    )
