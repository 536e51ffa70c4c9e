"""The rounds of one turn: the model is asked, what it wants is done, it is asked again; each round is its own call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

import msgspec

from chatserver.chat.calling import Calling
from chatserver.chat.endings import CallOutcome, estimated_usage, write_call_end
from chatserver.chat.estimates import Estimates
from chatserver.chat.live import LiveTurn
from chatserver.chat.meters import CallReport, Meters
from chatserver.chat.prompts import PreparedPrompt
from chatserver.chat.refusals import refused
from chatserver.chat.showing import spelled_out
from chatserver.chat.tooling import Tooling
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account
from chatserver.domain.calls import Attempt, Call, CallState, Usage
from chatserver.domain.extend import ChatRequest, PromptMessage, Refusal, ToolSpec
from chatserver.domain.messages import Message, Parts, ReasoningPart, ToolCallPart, text_of
from chatserver.domain.models import Model
from chatserver.domain.prompts import record_prompt
from chatserver.domain.tools import ROUNDS, ToolUse
from chatserver.domain.tree import count_parts, in_rounds, join_parts
from chatserver.domain.turns import Delta, TextDelta, ToolCallDelta, Turn, TurnError, assemble_parts
from chatserver.errors import ChatserverError
from chatserver.gateway.relay import Relay
from chatserver.store import calls as call_rows
from chatserver.store.database import Database, Tx


class TurnJob(msgspec.Struct, frozen=True):
    """A turn to run. question: made with it and perhaps not committed yet; parent_id: what the path hangs on.
    max_output: what admission left of the answer, 0 for no bound."""

    turn: Turn
    call: Call
    account: Account
    model: Model
    question: Message | None
    parent_id: str | None
    wants_title: bool = False
    max_output: int = 0


class RoundsOver(ChatserverError):
    """A model that wanted tools in every round it was given."""

    code = "tool_rounds"


class Rounds:
    """One turn's calls. `call` is the newest, `is_open` while it has not been ended; `earlier` and `earlier_attempts`
    are those of the calls before it."""

    def __init__(
        self,
        db: Database,
        calling: Calling,
        estimates: Estimates,
        tooling: Tooling,
        meters: Meters,
        job: TurnJob,
        live: LiveTurn,
    ) -> None:
        self._db = db
        self._calling = calling
        self._estimates = estimates
        self._tooling = tooling
        self._meters = meters
        self._job = job
        self._live = live
        self._max_output = job.max_output
        self._since = 0
        self._first_token_at: int | None = None
        self._prepared: PreparedPrompt | None = None
        self._relay: Relay | None = None
        self.call = job.call
        self.is_open = True
        self.earlier = Usage()
        self.earlier_attempts: list[Attempt] = []

    async def deltas(
        self, prepared: PreparedPrompt, committed: Callable[[], Awaitable[None]]
    ) -> AsyncGenerator[Delta, None]:
        """What is to be published, to the end of the answer; the turn is read for what was before, so each is published
        before the next is asked for. committed: waited for before a person is asked.

        Raises UpstreamError, Refused by an admission, and RoundsOver.
        """
        self._prepared = prepared
        toolbox = await self._tooling.open(
            self._job.turn, self._job.model, self._use(), _ids_in(prepared.prompt.messages)
        )
        tools = (*prepared.prompt.tools, *toolbox.specs)
        for number in range(ROUNDS):
            if number:
                await self._next_call(prepared)
            wanted: list[ToolCallDelta] = []
            is_first_word = number > 0
            self._relay = await self._open_relay(prepared, tools)
            async with aclosing(self._relay.deltas()) as deltas:
                async for delta in deltas:
                    self._first_token_at = self._first_token_at or now_us()
                    if isinstance(delta, ToolCallDelta):
                        await committed()
                        wanted.append(said := await toolbox.receive(delta))
                        yield said
                    elif isinstance(delta, TextDelta) and is_first_word and delta.text.strip():
                        is_first_word = False
                        yield TextDelta(_gap_after(self._live.deltas) + delta.text)
                    else:
                        yield delta
            if not wanted or not tools:
                return
            await self._end_call()
            if number + 1 < ROUNDS:
                async with aclosing(toolbox.run(wanted)) as results:
                    async for result in results:
                        yield result
        raise RoundsOver(
            f"The model asked for tools {ROUNDS} times and did not come to an answer. Continue lets it go on."
        )

    def outcome(self) -> CallOutcome:
        """How the newest call stands: measured usage, or estimated when it said something and told no figures."""
        relay = self._relay
        usage, factor = self._job.turn.usage, None
        parts = assemble_parts(self._live.deltas[self._since :])
        if relay is not None and relay.usage is not None:
            usage = msgspec.structs.replace(relay.usage, calls=1)
            measured = usage.input + usage.cached + usage.cache_write
            factor = self._estimates.learn(self._job.turn.model, self._input_tokens(), measured)
        elif relay is not None and relay.attempts and parts:
            usage = estimated_usage(self._input_tokens(), parts, self._estimates.factor(self._job.turn.model))
        return CallOutcome(
            self.call.id,
            self.call.labels,
            usage,
            tuple(relay.attempts) if relay else (),
            relay.channel if relay else "",
            self._first_token_at,
            factor,
        )

    def report(self, outcome: CallOutcome, state: CallState, error: TurnError | None = None) -> CallReport:
        """What the meters are told of the newest call."""
        return CallReport(
            self.call,
            state,
            outcome.channel,
            outcome.usage,
            outcome.attempts,
            outcome.first_token_at,
            now_us(),
            error.code if error else "",
        )

    async def _end_call(self) -> None:
        """The round is over: its call is metered, whatever becomes of the turn."""
        outcome = self.outcome()
        turn = self._job.turn
        await self._db.write(lambda tx: write_call_end(tx, turn, outcome, "done", now_us()), essential=True)
        self.is_open = False
        self._meters.call_ended(self.report(outcome, "done"))
        self.earlier += outcome.usage
        self.earlier_attempts += outcome.attempts

    async def _next_call(self, prepared: PreparedPrompt) -> None:
        """Another call of the same turn, admitted like the first."""
        job, turn = self._job, self._job.turn
        self._since, self._relay, self._first_token_at = len(self._live.deltas), None, None
        call = Call(
            new_id(),
            job.account.id,
            "chat",
            turn.origin,
            job.model.id,
            "running",
            now_us(),
            turn.id,
            labels=turn.labels,
        )
        admitted = await self._calling.admit(
            call,
            job.account,
            int(self._input_tokens() * self._estimates.factor(job.model.id)),
            int(prepared.prompt.parameters.get("max_output", 0)),
        )
        if isinstance(admitted, Refusal):
            raise refused(admitted)
        call, self._max_output = admitted

        def begin(tx: Tx) -> None:
            call_rows.insert_call(tx, call)

        # before it is written: whoever stops the turn meanwhile ends the call, too, if it is there by then
        self.call, self.is_open = call, True
        await self._db.write(begin)

    async def _open_relay(self, prepared: PreparedPrompt, tools: tuple[ToolSpec, ...]) -> Relay:
        job, prompt = self._job, prepared.prompt
        bounds = (int(prompt.parameters.get("max_output", 0)), self._max_output)
        request = ChatRequest(
            model=job.turn.model,
            messages=with_reply(prompt.messages, assemble_parts(self._live.deltas)),
            tools=tools,
            max_output=min((bound for bound in bounds if bound), default=0),
            parameters=prompt.parameters,
        )
        if self._live.prompt is None:  # what a later round is sent besides stands in the reply itself
            self._live.prompt = record_prompt(
                request, prepared.branch, prepared.tip_id, prepared.messages, is_cleared=prepared.is_cleared
            )
        spelled = msgspec.structs.replace(request, messages=spelled_out(request.messages))
        return await self._calling.relay(self.call, job.account, spelled)

    def _input_tokens(self) -> int:
        """Of the newest call's prompt, by our own count, uncorrected."""
        before = assemble_parts(self._live.deltas[: self._since])
        return (self._prepared.estimated_input if self._prepared else 0) + count_parts(before)

    def _use(self) -> ToolUse:
        turn = self._job.turn
        return ToolUse(
            self._job.account,
            turn.origin,
            turn.conversation_id,
            turn.id,
            turn.model,
            turn.parameters,
            turn.labels,
            is_tainted=bool(self._prepared and self._prepared.citations),
        )


def with_reply(messages: tuple[PromptMessage, ...], parts: Parts) -> tuple[PromptMessage, ...]:
    """A prompt, and what the reply to it holds so far; joined to the reply it goes on from, if it does."""
    said = tuple(part for part in parts if not isinstance(part, ReasoningPart))
    if not said:
        return messages
    if messages and messages[-1].role == "assistant":
        whole = PromptMessage("assistant", join_parts(messages[-1].parts, said))
        return (*messages[:-1], *in_rounds(whole))
    return (*messages, *in_rounds(PromptMessage("assistant", said)))


def _gap_after(deltas: Sequence[Delta]) -> str:
    """What parts the words of two rounds: a paragraph, where there are any before."""
    before = text_of(assemble_parts(tuple(deltas)))
    if not before.strip() or before.endswith("\n\n"):
        return ""
    return "\n" if before.endswith("\n") else "\n\n"


def _ids_in(messages: Sequence[PromptMessage]) -> list[str]:
    return [part.call_id for message in messages for part in message.parts if isinstance(part, ToolCallPart)]
