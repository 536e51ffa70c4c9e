"""Forms with files, read part by part: texts into memory, files into a folder for what is on its way. What is too large
is read on and forgotten, so that the sender gets our answer and not a reset."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from litestar import Request
from litestar.datastructures import State
from litestar.exceptions import SerializationException
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from chatserver.clock import new_id
from chatserver.domain.files import ArrivedFile
from chatserver.errors import BadInput, ChatserverError, LimitReached, StorageFull
from chatserver.web.bodies import BODY_MAX_BYTES, ClientGone, Receive, TooLarge
from chatserver.web.limits import Most, now_most

FILES_MAX = 10
FIELDS_MAX = 200
READ_AT_ONCE = 4
"""Forms with files that one account may be sending at the same time."""
WRITE_BYTES = 1024 * 1024
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Form:
    """What a form brought."""

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.files: list[ArrivedFile] = []

    def last(self, name: str) -> str:
        return self.texts.get(name, [""])[-1]

    async def discard(self) -> None:
        """The request is over: whatever was to be kept has been."""
        for file in self.files:
            await asyncio.to_thread(file.path.unlink, missing_ok=True)


class FormReader:
    """Reads forms with files of people who are signed in."""

    def __init__(self, spool: Path, upload_mb: Most) -> None:
        """upload_mb: how large one file may be, 0 for any size."""
        self._spool = spool
        self._upload_mb = upload_mb
        self._readers: dict[str, int] = {}

    async def read(
        self,
        account_id: str,
        receive: Receive,
        headers: Mapping[bytes, bytes],
        check_token: Callable[[str], None] | None = None,
    ) -> Form:
        """The whole form. check_token: given the form's `csrf` before the first file is taken in, raises what is wrong.

        Raises LimitReached `upload_mb` or `uploads_at_once`, TooLarge, BadInput, StorageFull, ClientGone.
        """
        if self._readers.get(account_id, 0) >= READ_AT_ONCE:
            raise LimitReached(
                "%(count)s uploads of yours are under way. Wait for one of them.",
                values={"count": READ_AT_ONCE},
                code="uploads_at_once",
                retry_after_s=2,
            )
        self._readers[account_id] = self._readers.get(account_id, 0) + 1
        reading = _Reading(self._spool, now_most(self._upload_mb), check_token)
        try:
            await reading.take_all(receive, headers)
        except BaseException:
            await reading.close()
            await reading.form.discard()
            raise
        finally:
            self._readers[account_id] -= 1
            if not self._readers[account_id]:
                del self._readers[account_id]
        return reading.form


class _Reading:
    """One form while it comes in. After the first thing that is wrong the rest is only swallowed."""

    def __init__(self, spool: Path, upload_mb: int, check_token: Callable[[str], None] | None) -> None:
        self.form = Form()
        self._spool = spool
        self._upload_mb = upload_mb
        self._check_token = check_token
        self._problem: ChatserverError | None = None
        self._segment: MultipartSegment | None = None
        self._text = bytearray()
        self._text_bytes = 0
        self._fields = 0
        self._file: BinaryIO | None = None
        self._path = spool
        self._size = 0
        self._buffer = bytearray()

    async def take_all(self, receive: Receive, headers: Mapping[bytes, bytes]) -> None:
        announced = headers.get(b"content-length", b"")
        most = FILES_MAX * self._upload_mb * 1024 * 1024 + BODY_MAX_BYTES if self._upload_mb else 0
        if most and announced.isdigit() and int(announced) > most:
            raise _too_large(most)
        try:
            parser = _parser(headers)
        except (MultipartError, BadInput) as error:
            parser, self._problem = None, _as_bad_input(error)
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            piece = message.get("body", b"")
            size += len(piece)
            if most and size > most:
                raise _too_large(most)
            if piece and parser is not None and self._problem is None:
                try:
                    await self._take(parser, piece)
                except ChatserverError as problem:
                    self._problem = problem
                except MultipartError as error:
                    self._problem = _as_bad_input(error)
                if self._problem is not None:
                    await self.close()
            if not message.get("more_body", False):
                break
        if self._problem is not None:
            raise self._problem
        assert parser is not None
        try:
            parser.close()
        except MultipartError as error:
            raise _as_bad_input(error) from error
        self._checked()

    async def close(self) -> None:
        """Give up the file that was being written."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(file.close)
            await asyncio.to_thread(self._path.unlink, missing_ok=True)

    async def _take(self, parser: PushMultipartParser, piece: bytes) -> None:
        for event in parser.parse(piece):
            if isinstance(event, MultipartSegment):
                await self._begin(event)
            elif event is None:
                await self._end()
            elif self._file is not None:
                await self._write(event)
            else:
                self._text_bytes += len(event)
                if self._text_bytes > BODY_MAX_BYTES:
                    raise TooLarge(
                        "The texts of the form are larger than %(most)s KiB. Send less at once.",
                        values={"most": BODY_MAX_BYTES // 1024},
                    )
                self._text += event

    async def _begin(self, segment: MultipartSegment) -> None:
        self._segment = segment
        self._text = bytearray()
        if not segment.filename:
            self._fields += 1
            if self._fields > FIELDS_MAX:
                raise BadInput("The form has more than %(most)s fields.", values={"most": FIELDS_MAX})
            return
        self._checked()
        if len(self.form.files) >= FILES_MAX:
            raise TooLarge(
                "At most %(most)s files at once. Send the others after these.",
                values={"most": FILES_MAX},
                code="too_many_files",
            )
        self._path = self._spool / new_id()
        self._size = 0
        self._buffer = bytearray()
        try:
            self._file = await asyncio.to_thread(self._path.open, "xb", 0)
        except OSError as error:
            raise _disk_problem(error) from error

    async def _write(self, piece: bytes | bytearray) -> None:
        self._size += len(piece)
        if self._upload_mb and self._size > self._upload_mb * 1024 * 1024:
            raise LimitReached(
                "A file may have %(most)s MB, and this one has more. Make it smaller, or bring a part of it.",
                values={"most": self._upload_mb},
                code="upload_mb",
                retry_after_s=3600,
            )
        self._buffer += piece
        if len(self._buffer) >= WRITE_BYTES:
            await self._flush()

    async def _flush(self) -> None:
        assert self._file is not None
        data, self._buffer = bytes(self._buffer), bytearray()
        try:
            written = 0
            while written < len(data):
                written += await asyncio.to_thread(self._file.write, data[written:])
        except OSError as error:
            raise _disk_problem(error) from error

    async def _end(self) -> None:
        segment, self._segment = self._segment, None
        assert segment is not None
        if self._file is None:
            if segment.filename is None:  # a file input that was left empty brings a name that is empty
                try:
                    self.form.texts.setdefault(segment.name, []).append(self._text.decode())
                except UnicodeDecodeError:
                    raise BadInput("The form is not valid UTF-8.") from None
            return
        await self._flush()
        file, self._file = self._file, None
        await asyncio.to_thread(file.close)
        self.form.files.append(ArrivedFile(segment.name, segment.filename or "", self._path, self._size))

    def _checked(self) -> None:
        if self._check_token is not None:
            self._check_token(self.form.last("csrf"))
            self._check_token = None


def form_in(request: Request[Any, Any, State]) -> Form | None:
    """The form that came with files, or None for any other request."""
    form = request.scope["state"].get("form")
    return form if isinstance(form, Form) else None


def arrived_in(request: Request[Any, Any, State], field: str) -> list[ArrivedFile]:
    """The files of one field."""
    form = form_in(request)
    return [file for file in form.files if file.field == field] if form is not None else []


async def fields_of(request: Request[Any, Any, State], name: str) -> list[str]:
    """All texts of one name in a form. Raises BadInput."""
    if (form := form_in(request)) is not None:
        return form.texts.get(name, [])
    try:
        return [value for value in (await request.form()).getall(name, []) if isinstance(value, str)]
    except (ValueError, SerializationException):
        raise BadInput("The form cannot be understood.") from None


def _parser(headers: Mapping[bytes, bytes]) -> PushMultipartParser:
    _, options = parse_options_header(headers.get(b"content-type", b"").decode("latin-1"))
    boundary = options.get("boundary", "")
    if not 0 < len(boundary) <= 100:
        raise BadInput("The form has no boundary between its parts.")
    return PushMultipartParser(boundary, strict=True)


def _as_bad_input(error: Exception) -> BadInput:
    return error if isinstance(error, BadInput) else BadInput("The form cannot be understood, or was cut off.")


def _too_large(most_bytes: int) -> TooLarge:
    return TooLarge(
        "The form is larger than %(most)s MiB. Send less at once.", values={"most": most_bytes // 1024 // 1024}
    )


def _disk_problem(error: OSError) -> ChatserverError:
    if error.errno in _FULL:
        return StorageFull(
            "The server's disk is full, so the file was not kept. Free some space there, then try again."
        )
    return ChatserverError("The file could not be taken in. Try again.")
