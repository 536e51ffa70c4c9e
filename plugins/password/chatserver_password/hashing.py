"""argon2id in threads of its own: a few at once, a bounded queue, so that guessing cannot take the server's memory."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id, verify

T = TypeVar("T")

MEMORY_KIB = 19_456
ROUNDS = 2
LANES = 1
"""19 MiB, 2 rounds, 1 lane (the only number libsodium makes): the first choice of the OWASP Password Storage Cheat
Sheet; about 0.1 s."""
AT_ONCE = 4
QUEUE_MAX = 50


class Busy(Exception):
    """The queue is full; nothing was computed."""


class Hasher:
    """Hashes and compares. Raises Busy when more than QUEUE_MAX wait already."""

    def __init__(self) -> None:
        self._bytes, self._made_like = MEMORY_KIB * 1024, f"$argon2id$v=19$m={MEMORY_KIB},t={ROUNDS},p={LANES}$"
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._pending = 0
        self._nobody = self._hashed(secrets.token_hex(16))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def hash(self, password: str) -> str:
        return await self._run(lambda: self._hashed(password))

    async def verify(self, hashed: str, password: str) -> bool:
        return await self._run(lambda: self._matches(hashed, password))

    async def waste_time(self, password: str) -> None:
        """Take as long as `verify` does, for an account that is not there."""
        await self.verify(self._nobody, password)

    def is_outdated(self, hashed: str) -> bool:
        """Whether it was made with other parameters than those above."""
        return not hashed.startswith(self._made_like)

    def _hashed(self, password: str) -> str:
        return argon2id.str(password.encode(), opslimit=ROUNDS, memlimit=self._bytes).decode()

    def _matches(self, hashed: str, password: str) -> bool:
        try:
            return verify(hashed.encode(), password.encode())
        except (CryptoError, ValueError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= AT_ONCE + QUEUE_MAX:
            raise Busy
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._pending -= 1
