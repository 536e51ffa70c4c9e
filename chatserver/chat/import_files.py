"""Find out what a file is by looking into it: an export of ours, JSON of another program, or an archive of such."""

from __future__ import annotations

import contextlib
import gzip
import mmap
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from chatserver.chat.beside import NOTHING, Beside, with_files
from chatserver.chat.export_reader import BYTE_ORDER_MARK, HEAD_BYTES, Owned, is_chat, is_export, read_chat, read_export
from chatserver.chat.scratch import needing_room
from chatserver.domain.imported import ImportedConversation, Importer
from chatserver.errors import BadInput, ChatserverError, _

log = structlog.get_logger("chatserver.imports")

MAX_ENTRIES = 100_000
MAX_UNPACKED_BYTES = 8 * 1024**3
"""Of one document; an archive that unpacks to more is taken for a bomb."""
MAX_RATIO = 200
_GZIP = b"\x1f\x8b"


class _NoChats(Exception):
    """A file of an archive that is no document of chats."""

    def __init__(self, damage: BadInput | None) -> None:
        super().__init__()
        self.damage = damage


class ImportFile:
    """A file to be taken in, read from its start as often as wanted. title: of the format; left: what in it is no
    conversation, by name."""

    def __init__(self, path: Path, importers: Sequence[Importer]) -> None:
        self.path = path
        self.title = ""
        self.left: list[str] = []
        self._importers = importers

    def conversations(self, folder: Path | None = None) -> Iterator[Owned]:
        """Each with the e-mail address of its account, '' when the file does not say. Raises BadInput with a sentence
        when the file is damaged or of no known format. folder: where what files hold is put, until the next one is
        asked for; None only checks it."""
        self.left = []
        with self.path.open("rb") as file:
            if file.read(len(_GZIP)) == _GZIP:
                with self._gunzip() as unpacked:
                    yield from self._plain(unpacked, folder)
            else:
                yield from self._plain(file, folder)

    def _plain(self, file: BinaryIO, folder: Path | None) -> Iterator[Owned]:
        file.seek(0)
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if is_export(head):
            self.title = "chatserver"
            yield from read_export(file, folder)
        elif zipfile.is_zipfile(file):
            yield from self._archive(file, folder)
        else:
            yield from self._document(file, self.path.name, folder)

    def _gunzip(self) -> BinaryIO:
        limit_bytes = min(MAX_UNPACKED_BYTES, MAX_RATIO * max(self.path.stat().st_size, 4_096))
        unpacked: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
        try:
            with needing_room(), gzip.open(self.path) as packed:
                while block := packed.read(1024 * 1024):
                    unpacked.write(block)
                    if unpacked.tell() > limit_bytes:
                        raise BadInput(
                            "%(path)s unpacks to more than %(most)s bytes, which is too much.",
                            values={"path": str(self.path), "most": limit_bytes},
                        )
            unpacked.flush()
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            unpacked.close()
            raise BadInput(
                "The archive %(path)s is damaged: %(error)s.",
                values={"path": str(self.path), "error": str(error)},
                code="damaged_file",
            ) from error
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def _archive(self, file: BinaryIO, folder: Path | None) -> Iterator[Owned]:
        damaged: BadInput | None = None
        try:
            with zipfile.ZipFile(file) as archive:
                entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
                if len(entries) > MAX_ENTRIES:
                    raise BadInput(
                        "%(path)s holds more than %(most)s files.",
                        values={"path": str(self.path), "most": MAX_ENTRIES},
                    )
                entries = [entry for entry in entries if not entry.is_dir()]
                beside = Beside(entries, lambda entry, path: self._unpack_to(archive, entry, path))
                for entry in entries:
                    if not entry.filename.lower().endswith(".json"):
                        self.left.append(entry.filename)
                        continue
                    with self._unpack(archive, entry) as unpacked:
                        try:
                            yield from self._document(unpacked, entry.filename, folder, beside)
                        except _NoChats as none:  # somebody's file, perhaps
                            self.left.append(entry.filename)
                            damaged = damaged or none.damage
                self.left = [name for name in self.left if name not in beside.taken]
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:  # RuntimeError: it asks a password
            raise BadInput(
                "The archive %(path)s is damaged: %(error)s.",
                values={"path": str(self.path), "error": str(error)},
                code="damaged_file",
            ) from error
        if not self.title:
            raise damaged or self._unknown()

    def _unpack(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO:
        self._check(entry)
        unpacked: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the caller
        try:
            self._copy(archive, entry, unpacked)
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def _check(self, entry: zipfile.ZipInfo) -> None:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadInput(
                "%(name)s in %(path)s is packed in a way not known here. Unpack it first.",
                values={"name": entry.filename, "path": str(self.path)},
            )
        if entry.file_size > MAX_UNPACKED_BYTES or entry.file_size > MAX_RATIO * max(entry.compress_size, 4_096):
            raise BadInput(
                "%(name)s in %(path)s unpacks to %(size)s bytes, which is too much.",
                values={"name": entry.filename, "path": str(self.path), "size": entry.file_size},
            )

    def _unpack_to(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path) -> None:
        self._check(entry)
        with needing_room(), path.open("xb") as file:
            self._copy(archive, entry, file)

    def _copy(self, archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: BinaryIO) -> None:
        with needing_room(), archive.open(entry) as packed:
            while block := packed.read(1024 * 1024):
                target.write(block)
                if target.tell() > entry.file_size:
                    raise BadInput(
                        "The archive %(path)s is damaged at %(name)s.",
                        values={"path": str(self.path), "name": entry.filename},
                    )
            target.flush()

    def _document(
        self, file: BinaryIO, name: str, folder: Path | None, beside: Beside | None = None
    ) -> Iterator[Owned]:
        """beside: the rest of the archive, None for a file that came alone. Raises _NoChats for one of an archive."""
        with contextlib.closing(_Bytes(file)) as document:
            if is_chat(bytes(document.view[:HEAD_BYTES])):
                self.title = "chatserver"
                yield read_chat(document.view)
                return
            importer = next((one for one in self._importers if _recognises(one, document.view)), None)
            if importer is None:
                damage = _damage(document.view, name)
                if beside is not None:
                    raise _NoChats(damage)
                raise damage or self._unknown()
            self.title = importer.title
            for conversation in self._read(importer, document.view, name):
                owned = with_files(_owned_by(importer, conversation), importer.name, beside or NOTHING, folder)
                yield "", owned
                for one in owned.files:
                    Path(one.path).unlink(missing_ok=True)

    @staticmethod
    def _read(importer: Importer, view: memoryview, name: str) -> Iterator[ImportedConversation]:
        try:
            yield from importer.read(view)
        except ChatserverError:
            raise
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise BadInput(
                "%(name)s looks like an export of %(program)s, but cannot be read: %(error)s.",
                values={"name": name, "program": importer.title, "error": str(error)},
                code="damaged_file",
            ) from error
        except Exception as error:  # an importer is a plugin's: its fault is told of this file
            log.error("importer_failed", importer=importer.name, exc_info=error)
            raise BadInput(
                "The importer for %(program)s failed at %(name)s (%(error)s): tell its author.",
                values={"program": importer.title, "name": name, "error": type(error).__name__},
                code="importer_failed",
            ) from error

    def _unknown(self) -> BadInput:
        known = ", ".join(["chatserver", *(importer.title for importer in self._importers)])
        if self._importers:
            sentence = _("%(path)s holds no chats in a format known here. Known: %(known)s.")
        else:
            sentence = _(
                "%(path)s holds no chats in a format known here. Known: %(known)s. Other programs' exports need a"
                " plugin that reads them: chatserver-imports."
            )
        return BadInput(sentence, values={"path": str(self.path), "known": known}, code="unknown_format")


def _recognises(importer: Importer, view: memoryview) -> bool:
    try:
        return importer.recognises(view)
    except Exception as error:  # an importer is a plugin's: the others may still know the file
        log.error("importer_failed", importer=importer.name, exc_info=error)
        return False


def _damage(view: memoryview, name: str) -> BadInput | None:
    """Of what begins like JSON and is none: it was cut, or changed on its way."""
    if bytes(view[:64]).lstrip()[:1] not in (b"[", b"{"):
        return None
    try:
        msgspec.json.decode(view, type=msgspec.Raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        return BadInput(
            "%(name)s is damaged or was cut: %(error)s.",
            values={"name": name, "error": str(error)},
            code="damaged_file",
        )
    return None


def _owned_by(importer: Importer, conversation: ImportedConversation) -> ImportedConversation:
    """Named by where it comes from, so that two programs' ids never meet."""
    return msgspec.structs.replace(conversation, id=f"{importer.name}:{conversation.id}")


class _Bytes:
    """A file's bytes, mapped rather than read."""

    def __init__(self, file: BinaryIO) -> None:
        file.seek(0, 2)
        size = file.tell()
        self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else None
        whole = memoryview(self._map) if self._map is not None else memoryview(b"")
        self.view = whole[3:] if bytes(whole[:3]) == BYTE_ORDER_MARK else whole

    def close(self) -> None:
        """The mapping itself goes when the last value that was cut from it goes."""
        self.view = memoryview(b"")
        self._map = None
