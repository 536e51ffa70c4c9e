"""A call beside any turn (a title, a probe): admitted, ranked, relayed and metered like one, and kept nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import msgspec

from chatserver.chat.meters import CallReport, Meters
from chatserver.chat.watching import watch_call
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Account
from chatserver.domain.calls import Call, CallKind, CallState, Usage, estimate_tokens
from chatserver.domain.events import CallEnded
from chatserver.domain.extend import Admission, ChatRequest, Egress, ModelUse, PromptMessage, Refusal
from chatserver.domain.messages import text_of
from chatserver.domain.models import Candidate
from chatserver.domain.turns import TextDelta
from chatserver.errors import UpstreamError
from chatserver.gateway.catalog import Catalog
from chatserver.gateway.relay import Relay
from chatserver.plugins import Plugins
from chatserver.store import calls as call_rows
from chatserver.store import outbox
from chatserver.store.database import Database, Tx


class Aside(msgspec.Struct, frozen=True):
    """How it went. text: what the model wrote. first_token_ms 0: nothing came. error: why it failed."""

    text: str
    channel: str
    first_token_ms: int = 0
    error: UpstreamError | None = None


class Asides:
    """Makes such calls; `admit_call` hears of each, with its kind."""

    def __init__(
        self, db: Database, plugins: Plugins, catalog: Catalog, http: Egress, meters: Meters, node_id: str = ""
    ) -> None:
        self._db = db
        self._plugins = plugins
        self._catalog = catalog
        self._http = http
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
    ) -> Aside | Refusal:
        """One short answer, whole. also: run with the text in the transaction that ends a call that went well.

        through: this channel, unranked. An upstream's failure is in the answer and not raised; a Refusal means nothing
        was asked.
        """
        prompt_tokens = sum(estimate_tokens(text_of(message.parts)) for message in messages)
        call = Call(new_id(), account.id, kind, "job", model, "running", now_us(), node=self._node_id)
        if self._plugins.has("admit_call"):
            asked = Admission(call.id, account, "job", kind, model, prompt_tokens, max_output)
            answer = await self._plugins.chain("admit_call", asked)
            if isinstance(answer, Refusal):
                return answer
        candidates = (through,) if through else self._catalog.candidates(model, account.groups)
        if through is None and self._plugins.has("rank_channels"):
            use = ModelUse(account, model, "job", kind, call.id)
            candidates = await self._plugins.chain("rank_channels", candidates, use=use)
        await self._db.write(lambda tx: call_rows.insert_call(tx, call))
        request = ChatRequest(model, messages, max_output=max_output)
        relay = Relay(
            request,
            candidates,
            self._catalog.providers,
            self._http,
            watch_call(self._plugins, call),
            self._catalog.patience,
        )
        pieces: list[str] = []
        first_at: int | None = None
        state: CallState = "interrupted"
        failure: UpstreamError | None = None
        try:
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
            usage = relay.usage or Usage(input=prompt_tokens, output=estimate_tokens(written), calls=1, estimated=True)

            def end(tx: Tx) -> None:
                if call_rows.end_call(
                    tx,
                    call.id,
                    state=state,
                    channel=relay.channel,
                    usage=usage,
                    attempts=relay.attempts,
                    first_token_at=first_at,
                    now=now_us(),
                ):
                    outbox.append(tx, CallEnded(call.id, account.id, kind, "job", model, relay.channel, state, usage))
                if also is not None and state == "done":
                    also(tx, written)

            await self._db.write(end, essential=True)
            code = failure.code if failure else ""
            self._meters.call_ended(
                CallReport(call, state, relay.channel, usage, tuple(relay.attempts), first_at, now_us(), code)
            )
        first_ms = max(1, (first_at - call.started_at) // 1000) if first_at else 0
        return Aside(written, relay.channel, first_ms, failure)
