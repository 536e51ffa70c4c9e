"""Read a file of chats, whatever known program it is of, and write it as an export of ours. Runs confined and by path:
`import_child.py IN OUT FOLDER IMPORTERS`, a folder for what it puts aside, the importers as JSON; prints JSON, what it
found or why it took nothing."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from chatserver.chat.enclosed_files import lines_on
from chatserver.chat.import_files import ImportFile
from chatserver.chat.placing import place
from chatserver.chat.scratch import needing_room
from chatserver.clock import now_us
from chatserver.domain.exports import FORMAT, VERSION, ConversationLine, EndLine, HeaderLine, MessageLine, encode_line
from chatserver.domain.imported import ImportedConversation, Importer
from chatserver.domain.messages import encode_parts
from chatserver.errors import ChatserverError


class ImporterName(msgspec.Struct, frozen=True):
    """An importer by where its two functions are found."""

    name: str
    title: str
    recognises: tuple[str, str]
    read: tuple[str, str]

    @classmethod
    def of(cls, importer: Importer) -> ImporterName | None:
        """None: its functions have no address, and another process cannot find them."""
        addresses = [(one.__module__, one.__qualname__) for one in (importer.recognises, importer.read)]
        if any("<" in name or "." in name for _, name in addresses):
            return None
        return cls(importer.name, importer.title, *addresses)

    def load(self) -> Importer:
        functions = [getattr(importlib.import_module(module), name) for module, name in (self.recognises, self.read)]
        return Importer(self.name, self.title, *functions)


class Unpacked(msgspec.Struct):
    """title: of the format. notes: what was not taken as it was, how often. refused: why nothing was taken, a code and
    a sentence with its values."""

    title: str = ""
    conversations: int = 0
    messages: int = 0
    files: int = 0
    notes: dict[str, int] = {}
    left: int = 0
    refused: tuple[str, str, dict[str, str | int]] | None = None


decode_unpacked = msgspec.json.Decoder(Unpacked).decode
_decode_importers = msgspec.json.Decoder(list[ImporterName]).decode


def main(source: Path, target: Path, folder: Path, importers: list[ImporterName]) -> Unpacked:
    found = Unpacked()
    file = ImportFile(source, [importer.load() for importer in importers])
    notes: Counter[str] = Counter()
    begun = now_us()
    try:
        with needing_room(), target.open("xb") as out:
            out.write(encode_line(HeaderLine(FORMAT, VERSION, "import", begun)))
            for _, conversation in file.conversations(folder):
                place(conversation, "", begun)  # what is no tree is found before anything is taken
                notes.update(conversation.notes)
                found.conversations += 1
                found.messages += len(conversation.messages)
                found.files += len(conversation.files)
                _write(out, conversation)
            out.write(encode_line(EndLine(0, found.conversations, found.messages, found.files)))
    except ChatserverError as error:
        return Unpacked(refused=(error.code, error.sentence, error.values))
    found.title, found.left, found.notes = file.title, len(file.left), dict(notes.most_common(20))
    return found


def _write(out: BinaryIO, conversation: ImportedConversation) -> None:
    fields = {name: getattr(conversation, name) for name in ConversationLine.__struct_fields__}
    out.write(encode_line(ConversationLine(**fields)))
    for one in conversation.files:
        out.writelines(lines_on(one))
    for line in _lines(conversation):
        out.write(encode_line(line))


def _lines(conversation: ImportedConversation) -> Iterator[MessageLine]:
    for message in conversation.messages:
        yield MessageLine(
            id=message.id,
            parent_id=message.parent_id,
            role=message.role,
            state=message.state,
            model=message.model,
            created_at=message.created_at,
            parts=msgspec.Raw(encode_parts(message.parts)),
            continues=message.continues,
            cleared_at=message.cleared_at,
            feedback=message.feedback,
            branch=message.branch,
        )


if __name__ == "__main__":
    source, target, folder = map(Path, sys.argv[1:4])
    print(msgspec.json.encode(main(source, target, folder, _decode_importers(sys.argv[4]))).decode())
