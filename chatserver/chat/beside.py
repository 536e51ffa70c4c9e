"""What lies in an archive beside its chats: found by the ids that messages name it by, and put where it can be read."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from zipfile import ZipInfo

import msgspec

from chatserver.chat.scratch import needing_room
from chatserver.clock import new_id
from chatserver.domain.files import with_names
from chatserver.domain.imported import ImportedConversation, ImportedFile
from chatserver.domain.messages import FilePart, ImagePart
from chatserver.errors import BadInput

ID_LIMIT = 150
_HAS_ENDING = re.compile(r"\.\w{1,5}\Z")
_AFTER_ID = frozenset(".-_")
Unpack = Callable[[ZipInfo, Path], None]


class Beside:
    """The entries of an archive by their names. unpack: writes one into a new file. taken: the entries that messages
    name."""

    def __init__(self, entries: Iterable[ZipInfo], unpack: Unpack) -> None:
        self._entries = sorted(((PurePosixPath(one.filename).name, one) for one in entries), key=lambda pair: pair[0])
        self._names = [name for name, _ in self._entries]
        self.unpack = unpack
        self.taken: set[str] = set()

    def find(self, file_id: str) -> ZipInfo | None:
        """The entry whose name is this id, or begins with it."""
        for place in range(bisect.bisect_left(self._names, file_id), len(self._names)):
            name = self._names[place]
            if not name.startswith(file_id):
                return None
            if name == file_id or name[len(file_id)] in _AFTER_ID:
                return self._entries[place][1]
        return None


NOTHING = Beside((), lambda entry, path: None)


def with_files(
    conversation: ImportedConversation, program: str, beside: Beside, folder: Path | None
) -> ImportedConversation:
    """The same tree with the files it names, under ids that no other program's can meet. folder: where they are put;
    None only looks whether they are there. Of one that is nowhere the name stays, and the notes say so."""
    held = {one.id: one for one in conversation.files}
    files: list[ImportedFile] = []
    notes: Counter[str] = Counter()
    wanted = _wanted(conversation)
    for file_id, part in wanted.items():
        own, entry = held.get(file_id), None
        what = "a picture" if isinstance(part, ImagePart) else "a file"
        if own is None and (entry := beside.find(file_id)) is None:
            notes[f"{what}, of which only the name is in the export"] += 1
            continue
        if entry is not None:
            beside.taken.add(entry.filename)
        if folder is None:
            continue
        path = folder / new_id()
        try:
            if entry is not None:
                beside.unpack(entry, path)
            elif own is not None:
                with needing_room():
                    path.write_bytes(own.content)
        except BadInput as error:  # one file is not worth all the chats
            notes[f"{what} that could not be unpacked. {error.message}"] += 1
            continue
        name = _name(part, PurePosixPath(entry.filename).name if entry is not None else own.name if own else "")
        files.append(ImportedFile(f"{program}:{file_id}", name, str(path)))
    names = {file_id: f"{program}:{file_id}" for file_id in wanted}
    messages = conversation.messages
    if names:
        messages = tuple(msgspec.structs.replace(one, parts=with_names(one.parts, names)) for one in messages)
    return msgspec.structs.replace(
        conversation, messages=messages, files=tuple(files), notes=(*conversation.notes, *notes.elements())
    )


def _wanted(conversation: ImportedConversation) -> dict[str, ImagePart | FilePart]:
    found: dict[str, ImagePart | FilePart] = {}
    for message in conversation.messages:
        for part in message.parts:
            if isinstance(part, ImagePart | FilePart) and 0 < len(part.file_id) <= ID_LIMIT:
                found.setdefault(part.file_id, part)
    return found


def _name(part: ImagePart | FilePart, found: str) -> str:
    """As its owner called it, where the message says so."""
    told = part.name if isinstance(part, FilePart) else part.alt
    return told if _HAS_ENDING.search(told) else found or told
