"""The lock that keeps a second server, migration or restore away from a database file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from chatserver.errors import SetupError


class Lock:
    """Held until released or until the process ends, however it ends. Usable in a `with`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    def release(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *error: object) -> None:
        self.release()


def hold_lock(path: Path) -> Lock:
    """Take the lock of the database at `path`, or raise SetupError when another process has it.

    For serve, migrate and restore only: whoever holds it may take every former owner for dead.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock_path = path.with_name(path.name + ".lock")
    handle = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        os.close(handle)
        who = f"process {holder}" if holder else "another process"
        raise SetupError(
            f"{path} is in use by {who}. Stop that chatserver first, or give this one a data folder of its own."
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return Lock(lock_path, handle)
