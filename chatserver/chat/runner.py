"""The road of one turn: path, prompt, rounds, ending. It runs in a task of the server, never of a request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import structlog

from chatserver.chat.endings import Ending, write_ending
from chatserver.chat.live import Live, LiveTurn
from chatserver.chat.meters import Meters
from chatserver.chat.prompts import PreparedPrompt, Prompts
from chatserver.chat.rounds import Rounds, TurnJob
from chatserver.chat.titles import Titles
from chatserver.chat.wakes import Wakes
from chatserver.clock import now_us
from chatserver.domain.turns import EndDelta, TurnError, TurnState
from chatserver.errors import ChatserverError, Unavailable
from chatserver.store.database import Database

log = structlog.get_logger("chatserver.runner")

__all__ = ["Runner", "TurnJob"]

FINAL_WRITE_RETRY_S = 0.5


class Runner:
    """Runs turns on this node and ends each exactly once."""

    def __init__(
        self,
        db: Database,
        live: Live,
        prompts: Prompts,
        rounds: Callable[[TurnJob, LiveTurn], Rounds],
        titles: Titles,
        wake: Callable[[bool], None],
        wakes: Wakes,
        meters: Meters,
    ) -> None:
        """rounds: opens those of a turn. wake: called after each ending, for those who wait for jobs and events.
        wakes: tells the other nodes."""
        self._db = db
        self._live = live
        self._prompts = prompts
        self._rounds = rounds
        self._titles = titles
        self._wake = wake
        self._wakes = wakes
        self._meters = meters

    def start(self, job: TurnJob, committed: asyncio.Future[bool]) -> LiveTurn:
        """Begin a turn. The upstream may be asked at once; nothing is shown or stored before `committed` is True."""
        live = self._live.open(job.turn)
        self._meters.turn_started(job.turn.origin)
        if job.wants_title:
            self._titles.expect(job.turn.conversation_id)
        live.task = asyncio.create_task(self._run(job, live, committed), name=f"turn {job.turn.id}")
        return live

    def stop(self, turn_id: str) -> bool:
        """Ask a turn of this node to stop; False when it does not run here. Asking twice is asking once."""
        live = self._live.get(turn_id)
        if live is None or live.task is None:
            return False
        if not live.stop_requested:
            live.stop_requested = True
            live.task.cancel()
        return True

    async def interrupt_all(self) -> None:
        """End every turn of this node as interrupted, with the text so far."""
        tasks = [live.task for live in self._live.running() if live.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, job: TurnJob, live: LiveTurn, committed: asyncio.Future[bool]) -> None:
        state: TurnState = "done"
        error: TurnError | None = None
        prepared: PreparedPrompt | None = None
        rounds = self._rounds(job, live)
        try:
            prepared = await self._prompts.prepare(
                job.turn, job.question, job.parent_id, job.model, job.account, lambda: self._committed(committed)
            )
            async with aclosing(rounds.deltas(prepared, lambda: self._committed(committed))) as deltas:
                async for delta in deltas:
                    if live.first_token_at is None:
                        if not await asyncio.shield(committed):
                            break
                        live.first_token_at = now_us()
                    live.publish(delta)
        except asyncio.CancelledError:
            state = "stopped" if live.stop_requested else "interrupted"
        except ChatserverError as failure:
            state = "interrupted" if live.deltas else "failed"
            error = TurnError(failure.code, failure.message)
        except Exception:  # nothing may stay running: a surprise ends the turn as failed, and is logged
            log.exception("turn_failed", turn=job.turn.id)
            state, error = "failed", TurnError("internal_error", "Something went wrong here. Try again.")
        await self._finish(asyncio.ensure_future(self._end(job, live, committed, prepared, rounds, state, error)))

    async def _committed(self, committed: asyncio.Future[bool]) -> None:
        if not await asyncio.shield(committed):
            raise Unavailable("Nothing was kept, so there is nothing to answer.")

    async def _finish(self, ending: asyncio.Future[None]) -> None:
        """Wait for the ending; a second Stop or a shutdown meanwhile does not tear it."""
        while not ending.done():
            try:
                await asyncio.shield(ending)
            except asyncio.CancelledError:
                if ending.cancelled():
                    raise
        ending.result()

    async def _end(
        self,
        job: TurnJob,
        live: LiveTurn,
        committed: asyncio.Future[bool],
        prepared: PreparedPrompt | None,
        rounds: Rounds,
        state: TurnState,
        error: TurnError | None,
    ) -> None:
        if not await asyncio.shield(committed):
            self._live.close(job.turn.id)
            self._titles.settle(job.turn.conversation_id)
            live.abandon()
            return
        call = rounds.outcome() if rounds.is_open else None
        usage = rounds.earlier + call.usage if call else rounds.earlier
        ending = Ending(
            turn=job.turn,
            call=call,
            state=state,
            deltas=tuple(live.deltas),
            usage=usage,
            error=error,
            attempts=(*rounds.earlier_attempts, *(call.attempts if call else ())),
            first_token_at=live.first_token_at,
            left_out=await self._count_left_out(job, prepared),
            wants_title=job.wants_title,
            reasoning_ms=live.reasoning_ms,
            prompt=live.prompt,
            citations=prepared.citations if prepared else (),
        )
        if job.wants_title and state != "done":
            self._titles.settle(job.turn.conversation_id)
        is_ours = await self._write(ending, live)
        if is_ours:
            live.end(EndDelta(state, usage, error))
            self._wakes.stored([(job.turn.id, live.last_seq)])
        else:
            live.abandon()
        self._live.close(job.turn.id)
        self._wake(ending.wants_title)
        if is_ours:
            self._count(rounds, ending)

    def _count(self, rounds: Rounds, ending: Ending) -> None:
        self._meters.turn_ended(ending.turn, ending.state, ending.error.code if ending.error else "")
        if ending.call is not None:
            self._meters.call_ended(rounds.report(ending.call, ending.state, ending.error))

    async def _count_left_out(self, job: TurnJob, prepared: PreparedPrompt | None) -> int:
        if prepared is None:
            return 0
        try:
            return await self._prompts.count_left_out(job.turn.conversation_id, prepared)
        except ChatserverError:
            return prepared.left_out

    async def _write(self, ending: Ending, live: LiveTurn) -> bool:
        """Commit the ending, again and again while the database cannot take it: a full disk empties, a restart ends."""
        live.is_ending = True
        while True:
            try:
                return await self._db.write(lambda tx: write_ending(tx, ending, now_us()), essential=True)
            except ChatserverError as failure:
                log.error("ending_not_written", turn=ending.turn.id, code=failure.code)
            except Exception:  # a surprise holds no reader for ever: the lease ends, and the sweeper ends the turn
                log.exception("ending_failed", turn=ending.turn.id)
                return False
            await asyncio.sleep(FINAL_WRITE_RETRY_S)
