"""A conversation gets a title after its first exchange: one metered call of kind `title`, never over a person's."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import structlog

from chatserver.clock import new_id, now_us
from chatserver.domain.calls import Call, CallState, Usage, estimate_tokens
from chatserver.domain.events import CallEnded
from chatserver.domain.extend import Admission, ChatRequest, Egress, JobSpec, ModelUse, PromptMessage, Refusal
from chatserver.domain.messages import TextPart, text_of
from chatserver.domain.turns import TextDelta
from chatserver.errors import UpstreamError
from chatserver.gateway.catalog import Catalog
from chatserver.gateway.relay import Relay
from chatserver.plugins import Plugins
from chatserver.store import accounts as account_rows
from chatserver.store import calls as call_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import messages as message_rows
from chatserver.store import outbox, search
from chatserver.store.database import Database, Tx

log = structlog.get_logger("chatserver.titles")

JOB = "title"
MAX_OUTPUT = 400
"""Room for a model that thinks before it writes six words."""
EXCERPT = 2000
INSTRUCTION = (
    "Write a title for the conversation below: at most six words, in the language of the conversation,"
    " no quotation marks, no full stop. Answer with the title alone."
)


class Titles:
    """Runs title jobs, and lets a page that still listens wait for the new title."""

    def __init__(self, db: Database, plugins: Plugins, catalog: Catalog, http: Egress) -> None:
        self._db = db
        self._plugins = plugins
        self._catalog = catalog
        self._http = http
        self._waiting: dict[str, asyncio.Future[str]] = {}

    def expect(self, conversation_id: str) -> None:
        """A title may come for this conversation; settle() must follow."""
        if conversation_id not in self._waiting:
            self._waiting[conversation_id] = asyncio.get_running_loop().create_future()

    def waiting(self, conversation_id: str) -> asyncio.Future[str] | None:
        return self._waiting.get(conversation_id)

    def settle(self, conversation_id: str, title: str = "") -> None:
        """Tell who waits: a title, or '' when none will come."""
        future = self._waiting.pop(conversation_id, None)
        if future is not None and not future.done():
            future.set_result(title)

    def job(self) -> JobSpec:
        return JobSpec(JOB, self.run, lease_s=120)

    async def run(self, payload: dict[str, Any]) -> None:
        """payload: conversation_id, account_id, model, reply_id."""
        conversation_id = str(payload["conversation_id"])
        title = ""
        try:
            title = await self._make(
                conversation_id, str(payload["account_id"]), str(payload["model"]), str(payload["reply_id"])
            )
        finally:
            self.settle(conversation_id, title)

    async def _make(self, conversation_id: str, account_id: str, model: str, reply_id: str) -> str:
        def look(tx: Tx) -> str:
            if not conversation_rows.wants_title(tx, conversation_id, account_id):
                return ""
            path = message_rows.path_to(tx, conversation_id, reply_id, 4)
            return "\n\n".join(f"{message.role}: {text_of(message.parts)[:EXCERPT]}" for message in path)

        account = await self._db.read(lambda tx: account_rows.account_by_id(tx, account_id))
        excerpt = await self._db.read(look)
        if account is None or not excerpt:
            return ""
        call = Call(new_id(), account_id, "title", "job", model, "running", now_us())
        if self._plugins.has("admit_call"):
            asked = Admission(call.id, account, "job", "title", model, estimate_tokens(excerpt), MAX_OUTPUT)
            if isinstance(await self._plugins.chain("admit_call", asked), Refusal):
                return ""
        candidates = self._catalog.candidates(model, account.groups)
        if self._plugins.has("rank_channels"):
            use = ModelUse(account, model, "job", "title", call.id)
            candidates = await self._plugins.chain("rank_channels", candidates, use=use)
        await self._db.write(lambda tx: call_rows.insert_call(tx, call))
        messages = (
            PromptMessage("system", (TextPart(INSTRUCTION),)),
            PromptMessage("user", (TextPart(excerpt),)),
        )
        relay = Relay(
            ChatRequest(model, messages, max_output=MAX_OUTPUT), candidates, self._catalog.providers, self._http
        )
        pieces: list[str] = []
        state: CallState = "done"
        try:
            async with aclosing(relay.deltas()) as deltas:
                async for delta in deltas:
                    if isinstance(delta, TextDelta):
                        pieces.append(delta.text)
        except UpstreamError as error:
            log.warning("title_not_made", code=error.code)
            state = "failed"
        written = "".join(pieces)
        usage = relay.usage or Usage(
            input=estimate_tokens(excerpt), output=estimate_tokens(written), calls=1, estimated=True
        )
        title = clean_title(written) if state == "done" else ""

        def store(tx: Tx) -> bool:
            if call_rows.end_call(
                tx,
                call.id,
                state=state,
                channel=relay.channel,
                usage=usage,
                attempts=relay.attempts,
                first_token_at=None,
                now=now_us(),
            ):
                outbox.append(tx, CallEnded(call.id, account_id, "title", "job", model, relay.channel, state, usage))
            conversation_rows.lock_conversation(tx, conversation_id)
            if not title or not conversation_rows.suggest_title(tx, conversation_id, account_id, title):
                return False
            search.index_title(tx, owner_id=account_id, conversation_id=conversation_id, title=title)
            return True

        return title if await self._db.write(store, essential=True) else ""


def clean_title(text: str) -> str:
    """A model's title made fit to show: its first line, without quotes, marks and a final stop; '' when it is none."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = line.removeprefix("Title:").strip().strip("#*_`\"'“”„«»「」『』").strip()
    line = " ".join(line.split()).rstrip(".。")
    return line if 0 < len(line) <= 100 else ""
