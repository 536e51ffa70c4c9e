"""Who is behind a cookie, a key or a share link: the one place where a credential becomes an Actor."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from chatserver.clock import monotonic_s, now_us
from chatserver.domain.access import READ_SHARE, Account, Actor, ApiKey, Session
from chatserver.errors import StorageFull
from chatserver.store import accounts as table
from chatserver.store import shares as share_rows
from chatserver.store.database import Database

IDLE_US = 14 * 86_400 * 1_000_000
TOUCH_US = 300 * 1_000_000
"""`seen_at` of a session and `used_at` of a key are written at most this often."""
KNOWN_S = 0.75
"""How long a looked-up credential is believed: what another process revoked is refused within a second."""
KNOWN_MAX = 20_000
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_KEY = re.compile(r"cs_[0-9a-z]{6}_[A-Za-z0-9_-]{43}")


class Credentials:
    """`actor_of_cookie`, `actor_of_key` and `actor_of_share` are the only makers of an Actor from a credential."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[tuple[str, str], tuple[float, Actor | None]] = {}

    async def actor_of_cookie(self, cookie: str) -> Actor | None:
        """The Actor behind a session cookie; None when it is unknown, ended, expired, or its account is not active."""
        return await self._believed("cookie", cookie, SECRET, self._actor_of_session)

    async def actor_of_key(self, key: str) -> Actor | None:
        """The Actor behind an API key; None when it is unknown, revoked, expired, or its account is not active."""
        return await self._believed("key", key, _KEY, self._actor_of_key_hash)

    async def actor_of_share(self, secret: str) -> Actor | None:
        """The Actor behind a share link, who may read that one snapshot and nothing else; None when it is unknown,
        revoked, expired, its conversation is deleted, or its owner's account is not active."""
        return await self._believed("share", secret, SECRET, self._actor_of_share_hash)

    async def _believed(
        self, kind: str, secret: str, shape: re.Pattern[str], look_up: Callable[[str], Awaitable[Actor | None]]
    ) -> Actor | None:
        """What was found out a moment ago, else what is found now. A secret of one kind is never taken for another."""
        if not shape.fullmatch(secret):
            return None
        hashed = sha256(secret)
        known = self._known.get((kind, hashed))
        if known is not None and monotonic_s() - known[0] < KNOWN_S:
            return known[1]
        actor = await look_up(hashed)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        self._known[kind, hashed] = (monotonic_s(), actor)
        return actor

    async def still_valid(self, actors: Sequence[Actor]) -> list[bool]:
        """For long streams: whether each actor's credential still opens the door, asked past the cache, in one read.

        An ended session, a revoked key and an account that is not active any more all answer False; also when another
        process did it. A stream that asks every few seconds closes in time.
        """
        now = now_us()

        def is_valid(tx: Any, actor: Actor) -> bool:
            if actor.session_id:
                held = table.get_session(tx, actor.session_id)
                return held is not None and _session_is_open(*held, now)
            account = table.account_by_id(tx, actor.account_id)
            if account is None or account.state != "active":
                return False
            if not actor.key_id:
                return True
            keys = [key for key in table.list_keys(tx, actor.account_id) if key.id == actor.key_id]
            return bool(keys) and _key_is_open(keys[0], account, now)

        return await self._db.read(lambda tx: [is_valid(tx, actor) for actor in actors])

    async def _actor_of_session(self, session_id: str) -> Actor | None:
        held = await self._db.read(lambda tx: table.get_session(tx, session_id))
        now = now_us()
        if held is None or not _session_is_open(*held, now):
            return None
        session, account = held
        if abs(now - session.seen_at) > TOUCH_US:
            await self._touch(lambda tx: table.touch_session(tx, session_id, now))
        return Actor(account=account, origin="web", session_id=session_id, proved_at=session.proved_at)

    async def _actor_of_key_hash(self, key_hash: str) -> Actor | None:
        held = await self._db.read(lambda tx: table.find_key_by_hash(tx, key_hash))
        now = now_us()
        if held is None or not _key_is_open(*held, now):
            return None
        key, account = held
        if key.used_at is None or abs(now - key.used_at) > TOUCH_US:
            await self._touch(lambda tx: table.touch_key(tx, key.id, now))
        return Actor(
            account=account,
            origin="api",
            key_id=key.id,
            scopes=key.scopes,
            models=key.models,
            requests_per_minute=key.requests_per_minute,
        )

    async def _actor_of_share_hash(self, share_hash: str) -> Actor | None:
        held = await self._db.read(lambda tx: share_rows.find_share_by_hash(tx, share_hash))
        if held is None:
            return None
        share, account = held
        if account.state != "active" or share.is_over(now_us()):
            return None
        return Actor(account=account, origin="web", share_id=share.id, scopes=(READ_SHARE,))

    async def _touch(self, write: Callable[[Any], None]) -> None:
        with contextlib.suppress(StorageFull):  # a full disk must not keep anybody from reading
            await self._db.write(write, essential=True)

    def forget_credentials(self) -> None:
        """Believe nothing that was looked up before: called by whatever here ends a session, key, share or account."""
        self._known.clear()


def sha256(text: str) -> str:
    """What is stored of a secret: it has 128 random bits or more, so no slow hash is needed."""
    return hashlib.sha256(text.encode()).hexdigest()


def _session_is_open(session: Session, account: Account, now: int) -> bool:
    return account.state == "active" and now < session.expires_at and now - session.seen_at < IDLE_US


def _key_is_open(key: ApiKey, account: Account, now: int) -> bool:
    return account.state == "active" and key.revoked_at is None and not key.is_expired(now)
