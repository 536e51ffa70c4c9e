"""The road every call to a model takes, whoever makes it: let in, ranked, relayed; a hold on one never made let go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chatserver.chat.watching import watch_call
from chatserver.domain.access import Account
from chatserver.domain.calls import Call, Usage
from chatserver.domain.events import CallEnded
from chatserver.domain.extend import Admission, Candidates, ChatRequest, Egress, ModelUse, Provider, Refusal
from chatserver.domain.models import Candidate
from chatserver.gateway.catalog import Catalog
from chatserver.gateway.relay import Relay
from chatserver.plugins import Plugins
from chatserver.store import outbox
from chatserver.store.database import Database, Tx


class Calling:
    """Turns, titles, probes and programs call models through this one."""

    def __init__(self, db: Database, plugins: Plugins, catalog: Catalog, http: Egress) -> None:
        self._db = db
        self._plugins = plugins
        self._catalog = catalog
        self._http = http

    @property
    def asks_first(self) -> bool:
        """Whether anybody admits calls; else their sizes need not be known."""
        return self._plugins.has("admit_call")

    async def admit(
        self, call: Call, account: Account, input_tokens: int, max_output: int = 0
    ) -> tuple[Call, int] | Refusal:
        """The call with the labels it was given, and the bound of its answer, 0 for none."""
        if not self.asks_first:
            return call, max_output
        asked = Admission(
            call.id, account, call.origin, call.kind, call.model, input_tokens, max_output, call.turn_id, call.labels
        )
        answer = await self._plugins.chain("admit_call", asked)
        if isinstance(answer, Refusal):
            return answer
        return msgspec.structs.replace(call, labels={**call.labels, **answer.labels}), answer.max_output

    async def relay(
        self,
        call: Call,
        account: Account,
        request: ChatRequest,
        *,
        candidates: Candidates | None = None,
        providers: Mapping[str, Provider] | None = None,
        through: Candidate | None = None,
    ) -> Relay:
        """Not begun yet. candidates, providers: others than all that serve the model; through: this one, unranked."""
        if through is not None:
            candidates = (through,)
        else:
            candidates = candidates or self._catalog.candidates(call.model, account.groups)
            if self._plugins.has("rank_channels"):
                use = ModelUse(account, call.model, call.origin, call.kind, call.id, call.labels)
                candidates = await self._plugins.chain("rank_channels", candidates, use=use)
        watch = watch_call(self._plugins, call)
        return Relay(
            request, candidates, providers or self._catalog.providers, self._http, watch, self._catalog.patience
        )

    async def release(self, calls: Sequence[Call]) -> None:
        """Tell whoever placed a hold that these admitted calls will never be made."""
        if not self.asks_first:
            return

        def tell(tx: Tx) -> None:
            for call in calls:
                outbox.append(tx, never_made(call))

        await self._db.write(tell)


def never_made(call: Call) -> CallEnded:
    """How a hold learns that it is to be let go: the turn, if any, was never written either."""
    return CallEnded(
        call.id, call.account_id, call.kind, call.origin, call.model, "", "failed", Usage(), None, call.labels
    )
