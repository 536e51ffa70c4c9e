"""A call beside any turn (a title, a probe): admitted, ranked, relayed and metered like one, and kept nowhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import aclosing

import msgspec

from chatserver.chat.calling import Calling
from chatserver.chat.meters import CallReport, Meters
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account
from chatserver.domain.calls import Call, CallKind, CallState, Usage, estimate_tokens
from chatserver.domain.extend import ChatRequest, PromptMessage, Provider, Refusal
from chatserver.domain.messages import text_of
from chatserver.domain.models import Candidate
from chatserver.domain.turns import TextDelta
from chatserver.errors import UpstreamError
from chatserver.gateway.relay import Relay
from chatserver.store import calls as call_rows
from chatserver.store.database import Database, Tx


class Aside(msgspec.Struct, frozen=True):
    """How it went. text: what the model wrote. first_token_ms 0: nothing came. error: why it failed."""

    text: str
    channel: str
    first_token_ms: int = 0
    error: UpstreamError | None = None


class Asides:
    """Makes such calls; `admit_call` hears of each, with its kind."""

    def __init__(self, db: Database, calling: Calling, meters: Meters, node_id: str) -> None:
        self._db = db
        self._calling = calling
        self._meters = meters
        self._node_id = node_id

    async def ask(
        self,
        account: Account,
        kind: CallKind,
        model: str,
        messages: tuple[PromptMessage, ...],
        *,
        max_output: int,
        also: Callable[[Tx, str], None] | None = None,
        through: Candidate | None = None,
        providers: Mapping[str, Provider] | None = None,
    ) -> Aside | Refusal:
        """One short answer, whole. also: run with the text in the transaction that ends a call that went well.

        through: this channel, unranked. providers: others than those that chat. An upstream's failure is in the answer
        and not raised; a Refusal means nothing was asked.
        """
        prompt_tokens = sum(estimate_tokens(text_of(message.parts)) for message in messages)
        call = Call(new_id(), account.id, kind, "job", model, "running", now_us(), node=self._node_id)
        admitted = await self._calling.admit(call, account, prompt_tokens, max_output)
        if isinstance(admitted, Refusal):
            return admitted
        call, max_output = admitted
        await self._db.write(lambda tx: call_rows.insert_call(tx, call))
        relay: Relay | None = None
        pieces: list[str] = []
        first_at: int | None = None
        state: CallState = "interrupted"
        failure: UpstreamError | None = None
        try:
            request = ChatRequest(model, messages, max_output=max_output)
            relay = await self._calling.relay(call, account, request, through=through, providers=providers)
            async with aclosing(relay.deltas()) as deltas:
                async for delta in deltas:
                    first_at = first_at or now_us()
                    if isinstance(delta, TextDelta):
                        pieces.append(delta.text)
            state = "done"
        except UpstreamError as error:
            failure, state = error, "failed"
        finally:
            written = "".join(pieces)
            usage = relay.usage if relay and relay.usage else Usage()
            if not usage.calls and first_at is not None:
                usage = Usage(input=prompt_tokens, output=estimate_tokens(written), calls=1, estimated=True)
            report = CallReport(
                call,
                state,
                relay.channel if relay else "",
                usage,
                tuple(relay.attempts) if relay else (),
                first_at,
                now_us(),
                failure.code if failure else "",
            )

            def end(tx: Tx) -> None:
                call_rows.end_call(
                    tx, report.event(), report.ended_at, attempts=report.attempts, first_token_at=first_at
                )
                if also is not None and state == "done":
                    also(tx, written)

            await self._db.write(end, essential=True)
            self._meters.call_ended(report)
        first_ms = max(1, (first_at - call.started_at) // 1000) if first_at else 0
        return Aside(written, report.channel, first_ms, failure)
