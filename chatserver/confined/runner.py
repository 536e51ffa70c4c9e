"""Start a confined script, wait for its answer within its bounds, and take whatever is left of it away."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

log = structlog.get_logger("chatserver.confined")

JAIL = Path(__file__).with_name("jail.py")
ANSWER_BYTES = 1_000_000
SAID_BYTES = 4_000
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


class Bounds(msgspec.Struct, frozen=True):
    """What a script may use. file_bytes: of any one file it writes."""

    memory_bytes: int = 512 * 1024 * 1024
    cpu_s: int = 20
    wall_s: float = 30.0
    file_bytes: int = 200 * 1024 * 1024


class Broke(Exception):
    """The script did not come to an answer: it crashed, went over a bound, or had no room for what it writes. reason:
    crash | time | memory | disk."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def run_confined(script: Path, words: Sequence[str], bounds: Bounds = Bounds()) -> bytes:
    """What the script prints, when it ends well. It runs by path, with this Python's libraries and without its
    environment. Raises Broke. Cancelled, it kills the script."""
    command = [sys.executable, "-I", "-X", "faulthandler=0", str(JAIL)]
    command += [str(bounds.memory_bytes), str(bounds.cpu_s), str(bounds.file_bytes), str(script), *words]
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdout is not None and process.stderr is not None
    try:
        async with asyncio.timeout(bounds.wall_s):
            answer, said = await asyncio.gather(_read(process.stdout, ANSWER_BYTES), _read(process.stderr, SAID_BYTES))
            code = await process.wait()
    except TimeoutError:
        raise Broke("time") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    if code == 0:
        return answer
    reason = _reason(code, said)
    log.warning("confined_script_broke", script=script.name, code=code, reason=reason)
    log.debug("confined_script_said", script=script.name, said=said[-500:].decode("utf-8", "replace"))
    raise Broke(reason)


async def _read(stream: asyncio.StreamReader, limit_bytes: int) -> bytes:
    """The first bytes of a stream; the rest is read and forgotten, so that the writer is not held up."""
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: limit_bytes - len(kept)]
    return bytes(kept)


def _reason(code: int, said: bytes) -> str:
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return "time"
    if b"MemoryError" in said:
        return "memory"
    return "disk" if any(os.strerror(one).encode() in said for one in NO_ROOM) else "crash"
