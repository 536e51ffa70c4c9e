"""A conversation gets a title after its first exchange: one metered call of kind `title`, never over a person's."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from chatserver.chat.asides import Aside, Asides
from chatserver.domain.extend import JobSpec, PromptMessage
from chatserver.domain.messages import TextPart, text_of
from chatserver.store import accounts as account_rows
from chatserver.store import conversations as conversation_rows
from chatserver.store import messages as message_rows
from chatserver.store import search
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

    def __init__(self, db: Database, asides: Asides) -> None:
        self._db = db
        self._asides = asides
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
        messages = (
            PromptMessage("system", (TextPart(INSTRUCTION),)),
            PromptMessage("user", (TextPart(excerpt),)),
        )
        title = ""

        def keep(tx: Tx, written: str) -> None:
            nonlocal title
            conversation_rows.lock_conversation(tx, conversation_id)
            wanted = clean_title(written)
            title = ""
            if wanted and conversation_rows.suggest_title(tx, conversation_id, account_id, wanted):
                search.index_title(tx, owner_id=account_id, conversation_id=conversation_id, title=wanted)
                title = wanted

        answer = await self._asides.ask(account, "title", model, messages, max_output=MAX_OUTPUT, also=keep)
        if isinstance(answer, Aside) and answer.error is not None:
            log.warning("title_not_made", code=answer.error.code)
        return title


def clean_title(text: str) -> str:
    """A model's title made fit to show: its first line, without quotes, marks and a final stop; '' when it is none."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    line = line.removeprefix("Title:").strip().strip("#*_`\"'“”„«»「」『』").strip()
    line = " ".join(line.split()).rstrip(".。")
    return line if 0 < len(line) <= 100 else ""
