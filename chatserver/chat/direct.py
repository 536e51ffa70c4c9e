"""A call to a model that no chat keeps: admitted, ranked, relayed and metered like a turn's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from types import TracebackType
from typing import Protocol

import msgspec
import structlog

from chatserver.chat.call_rows import CallRows
from chatserver.chat.calling import Calling
from chatserver.chat.embedders import embedders
from chatserver.chat.meters import CallReport, Meters
from chatserver.chat.permissions import Permissions
from chatserver.chat.refusals import refused
from chatserver.clock import monotonic_s, new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.calls import Attempt, Call, CallState, Usage, estimate_tokens
from chatserver.domain.direct import DirectRequest
from chatserver.domain.embedding import EmbeddedDelta
from chatserver.domain.extend import Candidates, ChatRequest, Provider, Refusal
from chatserver.domain.messages import text_of
from chatserver.domain.models import Model
from chatserver.domain.turns import ReasoningDelta, TextDelta, ToolCallDelta
from chatserver.errors import BadInput, ChatserverError, NotFound, Refused, Unavailable
from chatserver.gateway.catalog import Catalog
from chatserver.gateway.relay import Relay
from chatserver.store.database import Database

log = structlog.get_logger("chatserver.calls")

STOP_S = 2.0
CHECK_S = 3.0
"""How often credentials of running calls are looked at: what is shut ends within 5 s."""
LEFT_MOST = 64
"""How many upstreams are read to their end for clients that are gone; of one more, the connection is cut."""

_encode = msgspec.json.Encoder().encode

Said = TextDelta | ReasoningDelta | ToolCallDelta | EmbeddedDelta


class Shuttable(Protocol):
    """What goes on in somebody's name, and ends when their credential does. shut: twice is once."""

    actor: Actor

    def shut(self) -> None: ...


class DirectCall:
    """One call under way. Iterate `deltas()` once; then `usage`, `finish`, `channel` and `attempts` tell how it went.

    To be left by `async with`, or by `aclose()`: that ends and meters it, however far it came. `leave()`: whoever asked
    is gone, but what the upstream says goes on to be read for its usage, when there is room for that.
    """

    def __init__(
        self, directs: Directs, actor: Actor, call: Call, relay: Relay, kept: asyncio.Future[None], input_tokens: int
    ) -> None:
        self.call_id = call.id
        self.actor = actor
        self.started_at = call.started_at
        self.usage = Usage()
        self._directs = directs
        self._call = call
        self._relay = relay
        self._kept = kept
        self.input_tokens = input_tokens
        self._written: list[str] = []
        self._first_at: int | None = None
        self._source: AsyncGenerator[Said, None] | None = None
        self._task: asyncio.Task[object] | None = None
        self._is_left = self._is_cut = self._is_ended = False
        self._error = ""
        self._shut: Refused | None = None

    @property
    def finish(self) -> str:
        return self._relay.finish

    @property
    def channel(self) -> str:
        return self._relay.channel

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(self._relay.attempts)

    async def __aenter__(self) -> DirectCall:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def deltas(self) -> AsyncGenerator[Said, None]:
        """What the model says, as it says it. Raises UpstreamError; before the first delta also what the database
        says when it cannot keep the call."""
        assert self._source is None, "the deltas of a call are iterated once"
        self._task = asyncio.current_task()
        self._source = self._speak()
        return self._source

    def leave(self) -> None:
        """Whoever asked is gone, as another task than theirs noticed. Twice is once."""
        self._give_up()
        if self._is_cut and not self._is_ended and self._task is not None:
            self._task.cancel()

    def interrupt(self) -> None:
        """The server ends: whoever iterates is cancelled."""
        if self._task is None:
            self._end("interrupted")
        else:
            self._task.cancel()

    def shut(self) -> None:
        """The credential it was opened with opens nothing any more: who listens is told so, the upstream is cut."""
        if self._is_ended or self._task is None or self._shut is not None:
            return
        self._is_left = self._is_cut = True
        self._shut = Refused("This key or account was shut while the answer was written.", code="shut")
        self._task.cancel()

    def _give_up(self) -> None:
        if not self._is_left and not self._is_ended:
            self._is_left = True
            self._is_cut = not self._directs.take_in(self)

    async def aclose(self) -> None:
        """End it. What is still being said is read to its end when there is room for that, and else cut."""
        if self._is_ended:
            return
        if self._source is None:
            self._end("stopped")
            return
        self._give_up()
        if not self._is_cut:
            async for _ in self._source:
                pass  # nobody listens: it is read for its usage
        await self._source.aclose()

    async def _speak(self) -> AsyncGenerator[Said, None]:
        state: CallState = "interrupted"
        try:
            async with aclosing(self._relay.deltas()) as source:
                async for delta in source:
                    if self._first_at is None:
                        if not self._kept.done():
                            await asyncio.shield(self._kept)
                        self._kept.result()
                        self._first_at = now_us()
                    if type(delta) is TextDelta or type(delta) is ReasoningDelta:
                        self._written.append(delta.text)
                    if not self._is_left:
                        yield delta
                    elif self._is_cut:
                        break
            state = "stopped" if self._is_cut else "done"
        except GeneratorExit:
            state = "stopped"
            raise
        except asyncio.CancelledError:
            if not self._is_cut:
                raise
            state = "stopped"
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()
            if self._shut is not None:
                self._error = self._shut.code
                raise self._shut from None
        except ChatserverError as error:
            state = "interrupted" if self._first_at else "failed"
            self._error = error.code
            raise
        finally:
            self._end(state)

    def _end(self, state: CallState) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        relay = self._relay
        if relay.usage is not None:
            self.usage = msgspec.structs.replace(relay.usage, calls=1)
        elif self._first_at is not None:
            written = estimate_tokens("".join(self._written))
            self.usage = Usage(input=self.input_tokens, output=written, calls=1, estimated=True)
        self._directs.end(
            self,
            CallReport(
                call=self._call,
                state=state,
                channel=relay.channel,
                usage=self.usage,
                attempts=tuple(relay.attempts),
                first_token_at=self._first_at,
                ended_at=now_us(),
                error=self._error,
            ),
            self._kept,
        )


class Directs:
    """`ctx.calls`: makes such calls on this node."""

    def __init__(
        self,
        db: Database,
        calling: Calling,
        catalog: Catalog,
        meters: Meters,
        permissions: Permissions,
        node_id: str,
        wake: Callable[[], None],
        still_valid: Callable[[Sequence[Actor]], Awaitable[list[bool]]],
    ) -> None:
        """wake: called when there is something to tell plugins. still_valid: of credentials, asked past any cache."""
        self._still_valid = still_valid
        self._checking: asyncio.Task[None] | None = None
        self._calling = calling
        self._catalog = catalog
        self._meters = meters
        self._permissions = permissions
        self._node_id = node_id
        self._rows = CallRows(db, wake)
        self._running: set[DirectCall] = set()
        # Of others, who end what they do when they are shut.
        self.watched: set[Shuttable] = set()
        self._left: set[DirectCall] = set()
        self.left_most = LEFT_MOST
        self.is_draining = False

    def __len__(self) -> int:
        return len(self._running)

    def start(self) -> None:
        self._checking = asyncio.create_task(self._keep_checking(), name="direct calls")

    async def _keep_checking(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            try:
                await self.check()
            except Exception as error:  # a loop of the house outlives its surprises
                log.error("calls_not_checked", reason=error)

    async def check(self) -> None:
        """Shut every call whose credential was revoked, or whose account is not active any more."""
        by_credential: dict[tuple[str, str, str], list[Shuttable]] = {}
        for direct in (*self._running, *self.watched):
            actor = direct.actor
            by_credential.setdefault((actor.account_id, actor.key_id, actor.session_id), []).append(direct)
        if not by_credential:
            return
        calls = list(by_credential.values())
        for same, is_valid in zip(calls, await self._still_valid([same[0].actor for same in calls]), strict=True):
            if not is_valid:
                for direct in same:
                    direct.shut()

    def models(self, actor: Actor) -> list[Model]:
        """What this credential may use, those that make embeddings among them, demo models last."""
        return [model for model in self._catalog.all_models(actor.account.groups) if actor.may_use(model.id)]

    async def open(self, actor: Actor, request: DirectRequest) -> DirectCall:
        """Admit a call and begin it. Raises Refused, NotFound for a model that is unknown or not meant for this
        credential, LimitReached and Unavailable."""
        if self.is_draining:
            raise Unavailable("The server is about to restart. Try again in a moment.", code="draining")
        await self._permissions.require(actor, "models.use")
        account = actor.account
        candidates: Candidates = ()
        if actor.may_use(request.model):
            candidates = self._catalog.candidates(request.model, account.groups, embeds=request.kind == "embedding")
        providers: Mapping[str, Provider] = self._catalog.providers
        if not candidates:
            raise NotFound(
                f"There is no model {request.model[:100]!r} here. GET /v1/models lists what this key may use.",
                code="unknown_model",
            )
        if request.kind == "embedding":
            providers = embedders(providers, request.texts, request.parameters)
            candidates = tuple(one for one in candidates if one.channel.provider in providers)
            if not candidates:
                raise BadInput("No channel of this model makes embeddings. Pick another model.", code="no_embeddings")
        input_tokens = request.input_tokens or self.count(request)
        asked = Call(
            new_id(),
            account.id,
            request.kind,
            actor.origin,
            request.model,
            "running",
            now_us(),
            labels=request.labels,
            node=self._node_id,
        )
        admitted = await self._calling.admit(asked, account, input_tokens, request.max_output)
        if isinstance(admitted, Refusal):
            raise refused(admitted)
        call, max_output = admitted
        sent = ChatRequest(
            request.model, request.messages, request.tools, max_output=max_output, parameters=request.parameters
        )
        try:
            relay = await self._calling.relay(call, account, sent, candidates=candidates, providers=providers)
        except BaseException:  # whoever asked may be gone, too: a hold is let go whatever it was
            await asyncio.shield(self._calling.release([call]))
            raise
        direct = DirectCall(self, actor, call, relay, self._rows.begin(call), input_tokens)
        self._running.add(direct)
        return direct

    @staticmethod
    def count(request: DirectRequest) -> int:
        """How many tokens a request has, estimated by script: its messages, its texts and its tools."""
        told = sum(estimate_tokens(text_of(message.parts)) for message in request.messages)
        told += sum(map(estimate_tokens, request.texts))
        return told + sum(estimate_tokens(_encode(tool).decode()) for tool in request.tools)

    def take_in(self, direct: DirectCall) -> bool:
        """Room among those that are read for nobody."""
        if len(self._left) >= self.left_most or self.is_draining:
            return False
        self._left.add(direct)
        return True

    def end(self, direct: DirectCall, report: CallReport, kept: asyncio.Future[None]) -> None:
        self._running.discard(direct)
        self._left.discard(direct)
        if not kept.done():
            kept.add_done_callback(lambda done: self._write(report, done))
        else:
            self._write(report, kept)
        self._meters.call_ended(report)

    def _write(self, report: CallReport, kept: asyncio.Future[None]) -> None:
        if not kept.cancelled() and kept.exception() is None:
            self._rows.end(report)

    async def settle(self) -> None:
        """Wait until what was said so far is written."""
        await self._rows.settle()

    async def stop(self) -> None:
        """Cut what still runs, and write how each ended."""
        self.is_draining = True
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.gather(self._checking, return_exceptions=True)
        for direct in list(self._running):
            direct.interrupt()
        deadline_s = monotonic_s() + STOP_S
        while self._running and monotonic_s() < deadline_s:
            await asyncio.sleep(0.01)
        await self.settle()
