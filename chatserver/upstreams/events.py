"""Server-sent events, and lines, out of bytes that may be cut anywhere."""

from __future__ import annotations

MAX_EVENT_BYTES = 16_000_000
"""The longest event we hold; a picture made by a model fits."""

_BOM = b"\xef\xbb\xbf"


class EventTooLong(ValueError):
    """An event that does not end within MAX_EVENT_BYTES."""


class EventReader:
    """Feed bytes, get the `data` of each event that is complete. Comments, other fields and empty events vanish."""

    __slots__ = ("_data", "_ends_in_cr", "_has_begun", "_size_bytes", "_tail")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._data: list[bytes] = []
        self._size_bytes = 0
        self._has_begun = False
        self._ends_in_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        if not self._has_begun and chunk:
            chunk = self._begin(chunk)
        if b"\r" in chunk or self._ends_in_cr:
            chunk = self._without_cr(chunk)
        if b"\n" not in chunk:
            self._keep(chunk)
            return []
        if self._tail:
            self._tail.append(chunk)
            chunk = b"".join(self._tail)
            self._tail.clear()
        lines = chunk.split(b"\n")
        rest = lines.pop()
        events = self._read(lines)
        self._size_bytes = sum(map(len, self._data))
        self._keep(rest)
        return events

    def end(self) -> list[bytes]:
        """What was complete but for its empty line, when the body ended."""
        rest = b"".join(self._tail)
        self._tail.clear()
        return self._read([rest, b""])

    def _read(self, lines: list[bytes]) -> list[bytes]:
        events = []
        data = self._data
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line and data:
                event = data[0] if len(data) == 1 else b"\n".join(data)
                data.clear()
                if event:
                    events.append(event)
        return events

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._tail.append(rest)
            self._size_bytes += len(rest)
            if self._size_bytes > MAX_EVENT_BYTES:
                raise EventTooLong(f"an event is longer than {MAX_EVENT_BYTES} bytes")

    def _begin(self, chunk: bytes) -> bytes:
        """The byte order mark some servers begin with is not part of the first line, even when it comes in pieces."""
        chunk = b"".join(self._tail) + chunk
        self._tail.clear()
        self._size_bytes = 0
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._keep(chunk)
            return b""
        self._has_begun = True
        return chunk.removeprefix(_BOM)

    def _without_cr(self, chunk: bytes) -> bytes:
        """Lines may end in CR LF, LF or CR; an LF after a CR that ended the last chunk is its other half."""
        if self._ends_in_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._ends_in_cr = False
        if chunk.endswith(b"\r"):
            self._ends_in_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


class LineReader:
    """Feed bytes, get each line that is complete and not empty."""

    __slots__ = ("_size_bytes", "_tail")

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._size_bytes = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        head, newline, rest = chunk.rpartition(b"\n")
        if not newline:
            self._keep(chunk)
            return []
        whole = b"".join((*self._tail, head))
        self._tail.clear()
        self._size_bytes = 0
        self._keep(rest)
        return [line for part in whole.split(b"\n") if (line := part.strip())]

    def end(self) -> list[bytes]:
        """The last line, when the body ended without a line end."""
        rest = b"".join(self._tail).strip()
        self._tail.clear()
        return [rest] if rest else []

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._tail.append(rest)
            self._size_bytes += len(rest)
            if self._size_bytes > MAX_EVENT_BYTES:
                raise EventTooLong(f"a line is longer than {MAX_EVENT_BYTES} bytes")
