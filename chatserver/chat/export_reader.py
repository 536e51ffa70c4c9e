"""Read an export file line by line, one tree at a time in memory; what is wrong is told with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from chatserver.chat.enclosed_files import EnclosedFiles, Wrong
from chatserver.domain.exports import (
    FORMAT,
    VERSION,
    AccountLine,
    ConversationLine,
    EndLine,
    FileLine,
    HeaderLine,
    Line,
    MessageLine,
    PieceLine,
    decode_chat,
    decode_line,
    decode_parts,
)
from chatserver.domain.imported import ImportedConversation, ImportedMessage
from chatserver.domain.tuning import UNTUNED
from chatserver.errors import BadInput

MAX_LINE_BYTES = 64 * 1024 * 1024
MAX_MESSAGES = 100_000
"""Messages of one conversation: a tree is held in memory while it is read."""
HEAD_BYTES = 4_096
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
"""What some editors put before the first line."""
_CHAT = re.compile(rb'\s*\{\s*"type"\s*:\s*"chat"\s*,\s*"format"\s*:\s*"chatserver-export"')

Owned = tuple[str, ImportedConversation]
"""The e-mail address of the account it was exported from ('' when the file does not say), and the conversation."""


def is_export(head: bytes) -> bool:
    """Whether a file that begins like this is an export of ours; the header line fits into HEAD_BYTES."""
    first, _, _ = head.partition(b"\n")
    try:
        line = decode_line(first.removeprefix(BYTE_ORDER_MARK))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return False
    return isinstance(line, HeaderLine) and line.format == FORMAT


def is_chat(head: bytes) -> bool:
    """Whether a file that begins like this is one chat of ours, as one JSON document."""
    return _CHAT.match(head) is not None


def read_chat(document: memoryview) -> Owned:
    """The one conversation of such a file. Raises BadInput."""
    if len(document) > MAX_LINE_BYTES:
        raise BadInput(
            "The file is longer than the %(most)s bytes one chat may have.",
            values={"most": MAX_LINE_BYTES},
            code="damaged_file",
        )
    reader = _Reader()
    try:
        chat = decode_chat(document)
        reader.take(HeaderLine(chat.format, chat.version, chat.program, chat.exported_at))
        reader.take(chat.conversation)
        for line in chat.messages:
            reader.take(line)
        done = reader.take(EndLine(0, 1, len(chat.messages)))
    except Wrong as error:
        raise BadInput(
            "The chat in the file %(fault)s. Nothing of it was taken.",
            values={"fault": str(error)},
            code="damaged_file",
        ) from None
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BadInput(
            "The chat in the file cannot be read (%(error)s).", values={"error": str(error)}, code="damaged_file"
        ) from None
    assert done is not None
    return done


def read_export(file: BinaryIO, folder: Path | None = None) -> Iterator[Owned]:
    """The conversations of a file from its first line on. Raises BadInput, with the number of the line. folder: where
    what their files hold is put, until the next one is asked for; None only checks it."""
    reader = _Reader(folder)
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        try:
            done = reader.take(_decode(raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw))
        except Wrong as error:
            raise BadInput(
                "Line %(number)s %(fault)s. Nothing of the file was taken.",
                values={"number": number, "fault": str(error)},
                code="damaged_file",
            ) from None
        if done is not None:
            yield done
            for one in done[1].files:
                Path(one.path).unlink(missing_ok=True)
    if not reader.has_ended:
        raise BadInput(
            "The file ends after line %(number)s, before its end: it was cut. Nothing of it was taken; export again.",
            values={"number": number},
            code="damaged_file",
        )


def _decode(raw: bytes) -> Line:
    if len(raw) > MAX_LINE_BYTES:
        raise Wrong(f"is longer than {MAX_LINE_BYTES} bytes")
    try:
        line: Line = decode_line(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Wrong(f"cannot be read ({error})") from None
    return line


class _Reader:
    """Where in the file we are, and the tree that is being read."""

    def __init__(self, folder: Path | None = None) -> None:
        self._contents = EnclosedFiles(folder)
        self.has_ended = False
        self._has_begun = False
        self._email = ""
        self._conversation: ConversationLine | None = None
        self._messages: dict[str, ImportedMessage] = {}
        self._counts = EndLine(0, 0, 0)

    def take(self, line: Line) -> Owned | None:
        """The tree that is complete with this line, if one is."""
        if self.has_ended:
            raise Wrong("stands after the end")
        if isinstance(line, HeaderLine):
            self._take_header(line)
            return None
        if not self._has_begun:
            raise Wrong("is not the header an export begins with")
        if isinstance(line, PieceLine):
            self._contents.add(line)
            return None
        self._contents.end()
        if isinstance(line, MessageLine):
            self._take_message(line)
            return None
        if isinstance(line, FileLine):
            if self._conversation is None:
                raise Wrong("is a file of no conversation")
            self._contents.begin(line)
            self._count(files=1)
            return None
        done = self._complete()
        if isinstance(line, AccountLine):
            self._email = line.email
            self._count(accounts=1)
        elif isinstance(line, ConversationLine):
            _check_times(line.created_at, line.updated_at)
            self._conversation = line
            self._count(conversations=1)
        elif line != self._counts:
            found = self._counts
            raise Wrong(
                f"tells of {line.accounts} accounts, {line.conversations} conversations and {line.messages} messages"
                f" with {line.files} files, and the file holds {found.accounts}, {found.conversations} and"
                f" {found.messages} with {found.files}"
            )
        else:
            self.has_ended = True
        return done

    def _take_header(self, line: HeaderLine) -> None:
        if self._has_begun:
            raise Wrong("is a second header")
        if line.format != FORMAT:
            raise Wrong("is not the header of an export")
        if line.version > VERSION:
            raise Wrong(
                f"says that the file is of version {line.version}, made by {line.program}, and version {VERSION} is"
                " known here: install a newer chatserver"
            )
        self._has_begun = True

    def _take_message(self, line: MessageLine) -> None:
        if self._conversation is None:
            raise Wrong("is a message of no conversation")
        if not line.id or len(line.id) > 200 or line.id in self._messages:
            raise Wrong("has the id of a message before it" if line.id in self._messages else "has a bad id")
        if len(self._messages) >= MAX_MESSAGES:
            raise Wrong(f"is beyond the {MAX_MESSAGES} messages a conversation may have")
        _check_times(line.created_at, line.cleared_at)
        try:
            parts = decode_parts(line.parts)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise Wrong(f"cannot be read ({error})") from None
        self._messages[line.id] = ImportedMessage(
            id=line.id,
            parent_id=line.parent_id,
            role=line.role,
            parts=parts,
            created_at=line.created_at,
            model=line.model,
            state="interrupted" if line.state == "running" else line.state,
            continues=line.continues,
            cleared_at=line.cleared_at,
            feedback=line.feedback,
            branch=line.branch,
        )
        self._count(messages=1)

    def _complete(self) -> Owned | None:
        conversation, self._conversation = self._conversation, None
        if conversation is None:
            return None
        messages, self._messages = self._messages, {}
        for message in messages.values():
            if message.parent_id is not None and message.parent_id not in messages:
                raise Wrong(f"ends a conversation that lacks the parent of its message {message.id}")
        return self._email, ImportedConversation(
            id=conversation.id,
            title=conversation.title,
            title_source=conversation.title_source,
            messages=tuple(messages.values()),
            created_at=conversation.created_at,
            updated_at=conversation.updated_at,
            tip_id=conversation.tip_id,
            model=conversation.model,
            pinned=conversation.pinned,
            archived=conversation.archived,
            tuning=conversation.tuning or UNTUNED,
            folder=conversation.folder,
            tags=conversation.tags,
            files=self._contents.hand_over(),
        )

    def _count(self, accounts: int = 0, conversations: int = 0, messages: int = 0, files: int = 0) -> None:
        before = self._counts
        self._counts = EndLine(
            before.accounts + accounts,
            before.conversations + conversations,
            before.messages + messages,
            before.files + files,
        )


def _check_times(*times_us: int) -> None:
    if not all(0 <= time < 2**62 for time in times_us):
        raise Wrong("holds a time that cannot be")
