"""A disk as strace saw it told: what was synced is kept, what was only written may survive a power loss or not."""

from __future__ import annotations

import random
import re
import shutil
from pathlib import Path

SECTOR_BYTES = 512
_CALL = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(.*)$")
_FILE = re.compile(r"<((?:\\x[0-9a-f]{2})+|[^>]*)>")
_DATA = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')

Write = tuple[int, bytes | None]
"""Where, and what; of a cut the length that stays, and None."""


def plain(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if "\\x" in text else text


class Platter:
    """The files below `folder`, by name: what is durable, and the writes since, in order."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._durable: dict[str, bytearray] = {}
        self._pending: dict[str, list[Write]] = {}
        self._begun: dict[str, str] = {}
        self._syncing: dict[str, tuple[str, int]] = {}

    def hear(self, line: str) -> bool:
        """One line of the trace; True when it changed what could be found after a loss of power."""
        match = _CALL.match(line)
        if match is None:
            return False
        thread, call, rest = match.groups()
        if line.endswith("<unfinished ...>"):
            self._begin(thread, call, rest)
            self._begun[thread] = rest.removesuffix("<unfinished ...>")
            return False
        if "resumed>" in rest:
            rest = self._begun.pop(thread, "") + rest.partition("resumed>")[2]
        else:
            self._begin(thread, call, rest)
        return self._end(thread, call, rest)

    def _name(self, rest: str) -> str:
        """Of the file a call is about, '' for one elsewhere."""
        found = _FILE.search(rest)
        path = Path(plain(found[1])) if found else Path()
        return path.name if path.parent == self._folder else ""

    def _begin(self, thread: str, call: str, rest: str) -> None:
        """A sync covers what was written before it began."""
        if call in ("fdatasync", "fsync"):
            name = self._name(rest)
            self._syncing[thread] = (name, len(self._pending.get(name, ())))

    def _end(self, thread: str, call: str, rest: str) -> bool:
        if re.search(r"= -1 ", rest):
            return False
        if call in ("fdatasync", "fsync"):
            name, count = self._syncing.pop(thread)
            return bool(name) and self._sync(name, count)
        if call == "unlink":
            path = Path(plain((_DATA.search(rest) or [""])[0].strip('"')))
            if path.parent != self._folder:
                return False
            self._durable.pop(path.name, None)
            self._pending.pop(path.name, None)
            return True
        if call == "openat":
            opened = _FILE.findall(rest)
            path = Path(plain(opened[-1])) if opened else Path()
            if path.parent == self._folder and "O_CREAT" in rest:
                self._durable.setdefault(path.name, bytearray())
            return False
        name = self._name(rest)
        if not name:
            return False
        if call == "ftruncate":
            length = re.search(r", (\d+)\)", rest)
            assert length is not None, rest
            self._pending.setdefault(name, []).append((int(length[1]), None))
            return True
        if call == "pwrite64":
            data, place = _DATA.search(rest), re.search(r", (\d+)\) = (\d+)", rest)
            assert data is not None and place is not None, rest
            body = bytes.fromhex(data[1].replace("\\x", ""))
            assert len(body) == int(place[2]), "strace shortened what was written"
            self._pending.setdefault(name, []).append((int(place[1]), body))
            return True
        return False

    def _sync(self, name: str, count: int) -> bool:
        pending = self._pending.get(name, [])
        for write in pending[:count]:
            apply(self._durable.setdefault(name, bytearray()), write)
        del pending[:count]
        return count > 0

    def write_out(self, folder: Path, keep: float, chance: random.Random) -> None:
        """What may be found: of the writes since the last sync each sector by chance, whatever the order."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in {*self._durable, *self._pending}:
            if name.endswith("-shm"):  # lives in memory
                continue
            found = bytearray(self._durable.get(name, b""))
            for at, body in self._pending.get(name, []):
                if body is None:
                    if chance.random() < keep:
                        apply(found, (at, None))
                    continue
                for start in range(0, len(body), SECTOR_BYTES):
                    if chance.random() < keep:
                        apply(found, (at + start, body[start : start + SECTOR_BYTES]))
            (folder / name).write_bytes(found)


def apply(body: bytearray, write: Write) -> None:
    at, data = write
    if data is None:
        del body[at:]
        body.extend(bytes(at - len(body)))
        return
    if len(body) < at:
        body.extend(bytes(at - len(body)))
    body[at : at + len(data)] = data
