"""What the admins should know: told once, shown until it is read or no longer true."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.notices import KEY_LIMIT, SENTENCE_LIMIT, Notice, NoticeLevel
from chatserver.errors import ChatserverError, NotFound, Refused
from chatserver.store import notices as notice_rows
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.notices")

VALUE_LIMIT = 300


class Board:
    """Where one source tells its notices; a plugin's is `ctx.notices`."""

    def __init__(self, db: Database, source: str) -> None:
        self._db = db
        self._source = source
        self._waiting: set[asyncio.Task[Any]] = set()

    async def tell(self, key: str, sentence: str, level: NoticeLevel = "warning", **values: str | int) -> bool:
        """Show a sentence to the admins until one of them has read it, or until `clear(key)`.

        Told again in the same words it stays what it is, read or not; in other words it is new. sentence: in English,
        complete, with the next step, written out in the call, which puts it into the catalogues; what differs stands in
        it as `%(name)s` and comes as `values`. Nothing secret: it is stored. level: `info`, `warning` or `error`.
        Returns whether it was new.
        """
        told = {name: str(value)[:VALUE_LIMIT] for name, value in values.items()}
        notice = Notice(self._source, key[:KEY_LIMIT], level, sentence[:SENTENCE_LIMIT], told, now_us())

        def is_known(tx: Tx) -> bool:
            before = notice_rows.notice_of(tx, notice.source, notice.key)
            return before is not None and (before.level, before.sentence, before.values) == (
                notice.level,
                notice.sentence,
                notice.values,
            )

        if await self._db.read(is_known):
            return False
        await self._db.write(lambda tx: notice_rows.put_notice(tx, notice))
        log.log({"info": 20, "warning": 30, "error": 40}[level], "notice", source=self._source or "core", key=key)
        return True

    async def clear(self, key: str) -> bool:
        """It is no longer true: gone, whether it was read or not. False when there was none."""
        if await self._db.read(lambda tx: notice_rows.notice_of(tx, self._source, key[:KEY_LIMIT])) is None:
            return False
        return await self._db.write(lambda tx: notice_rows.remove_notice(tx, self._source, key[:KEY_LIMIT]))

    def tell_soon(self, key: str, sentence: str, level: NoticeLevel = "warning", **values: str | int) -> None:
        """The same, for whoever cannot wait; a database that cannot take it costs the notice, which is logged."""
        self._spawn(self.tell(key, sentence, level, **values))

    def clear_soon(self, key: str) -> None:
        self._spawn(self.clear(key))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(_or_logged(work, self._source))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def settle(self) -> None:
        """Until what was told or cleared in passing is written."""
        await asyncio.gather(*self._waiting)


class Notices:
    """All of them, for those who administer; and a board for each who tells."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.core = Board(db, "")

    def of_plugin(self, name: str) -> Board:
        return Board(self._db, name)

    async def unread(self, actor: Actor) -> list[Notice]:
        """Newest first. Raises Refused for who is no admin."""
        _require_admin(actor)
        return await self._db.read(notice_rows.unread)

    async def standing(self, actor: Actor) -> list[Notice]:
        """All that nobody took back, read or not, newest first. Raises Refused for who is no admin."""
        _require_admin(actor)
        return await self._db.read(notice_rows.standing)

    async def count_unread(self, actor: Actor) -> int:
        """0 for who is no admin."""
        return await self._db.read(notice_rows.count_unread) if actor.is_admin else 0

    async def put_away(self, actor: Actor, source: str, key: str) -> None:
        """Read, for all admins; that it was read before is no error. Raises NotFound, Refused."""
        _require_admin(actor)

        def put(tx: Tx) -> None:
            if not notice_rows.mark_read(tx, source, key, now_us()) and not notice_rows.notice_of(tx, source, key):
                raise NotFound("There is no such notice any more.")

        await self._db.write(put)


def _require_admin(actor: Actor) -> None:
    if not actor.is_admin:
        raise Refused("Only an admin may read the notices.")


async def _or_logged(work: Coroutine[Any, Any, Any], source: str) -> None:
    try:
        await work
    except ChatserverError as error:
        log.error("notice_not_kept", source=source or "core", code=error.code)
