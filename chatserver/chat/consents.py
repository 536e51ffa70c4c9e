"""Asking a person before a tool acts: the turn waits, the answer may come in through any node, the first one counts."""

from __future__ import annotations

from chatserver.chat.readers import Readers
from chatserver.chat.wakes import Wakes
from chatserver.clock import monotonic_s, now_us
from chatserver.domain.access import Actor
from chatserver.domain.tools import CONSENT_S, ConsentAnswer
from chatserver.domain.turns import Turn
from chatserver.errors import BadInput, Conflict, NotFound
from chatserver.store import consents as consent_rows
from chatserver.store.database import Database, Tx

ALLOWED = ("once", "always")
SAYABLE: tuple[ConsentAnswer, ...] = ("once", "always", "declined")


class Consents:
    """Questions to people, and their answers, in the database all nodes share."""

    def __init__(self, db: Database, wakes: Wakes, *, wait_s: float = CONSENT_S) -> None:
        """wait_s: how long nobody may say anything before it counts as no."""
        self._db = db
        self._wakes = wakes
        self.wait_s = wait_s

    async def always_allowed(self, turn: Turn, *, is_tainted: bool = False) -> set[str]:
        """The tools that need not ask in this turn. is_tainted: it was given passages that nobody vouches for, and only
        what was said in view of such passages counts."""
        return await self._db.read(lambda tx: consent_rows.always_allowed(tx, turn, is_tainted=is_tainted))

    async def ask(self, turn: Turn, call_id: str, tool: str) -> None:
        """From now on the call may be answered. The turn is committed."""
        await self._db.write(lambda tx: consent_rows.ask(tx, turn, call_id, tool, now_us()))

    async def wait(self, turn: Turn, call_id: str) -> ConsentAnswer:
        """What was said, once something was; `expired` when it took too long."""
        until_s = monotonic_s() + self.wait_s
        with self._wakes.watch(turn.id) as watch:
            while True:
                found = await self._db.read(lambda tx: consent_rows.consent_of(tx, turn, call_id))
                if found is not None and found.answer:
                    return found.answer
                if found is None or monotonic_s() >= until_s:
                    break
                await watch.wait()

        def expire(tx: Tx) -> ConsentAnswer:
            consent_rows.answer(tx, turn, call_id, "expired", now_us())
            late = consent_rows.consent_of(tx, turn, call_id)
            return (late.answer if late is not None else "") or "expired"

        return await self._db.write(expire)

    async def answer(self, actor: Actor, readers: Readers, turn_id: str, call_id: str, said: str) -> ConsentAnswer:
        """Say something to a call of the actor's own that waits; what counts, which may have been said before.

        Raises NotFound, BadInput, and Conflict `not_waiting` when the turn has ended.
        """
        wanted = next((one for one in SAYABLE if one == said), None)
        if wanted is None:
            raise BadInput("Say once, always or declined.", code="bad_answer", status=422)
        turn = await readers.turn(actor, turn_id)

        def write(tx: Tx) -> ConsentAnswer:
            consent_rows.answer(tx, turn, call_id, wanted, now_us())
            found = consent_rows.consent_of(tx, turn, call_id)
            return (found.answer if found is not None else "") or wanted

        found = await self._db.read(lambda tx: consent_rows.consent_of(tx, turn, call_id))
        if found is None:
            raise NotFound("There is no such question.")
        if not found.answer and turn.state != "running":
            raise Conflict("The answer has ended, and nothing waits any more.", code="not_waiting")
        counts = found.answer or await self._db.write(write)
        self._wakes.tell(turn.id)
        return counts or wanted
