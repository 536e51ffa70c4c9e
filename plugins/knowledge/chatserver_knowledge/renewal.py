"""When another model is to embed: its vectors are made in the background, and serve once they are whole."""

from __future__ import annotations

from typing import Any

from chatserver import ChatserverError, Context, SlotContext
from chatserver_knowledge.chunks import Chunks
from chatserver_knowledge.embedding import CHANNEL, Embedder
from chatserver_knowledge.ingest import Ingest
from chatserver_knowledge.near import Near

EVERY_S = 60.0
LEASE_S = 60.0
TURN_S = 20.0
"""How long it works before it lets others have a turn, and how soon it goes on."""
NOTICE = "embedding"


class Renewal:
    def __init__(self, near: Near, chunks: Chunks, embedder: Embedder, ingest: Ingest) -> None:
        self._near = near
        self._chunks = chunks
        self._embedder = embedder
        self._ingest = ingest
        self._is_checked = self._is_told = False

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def run(self, payload: dict[str, Any]) -> None:
        """The job, by one node at a time, again and again; what is done already is not done again."""
        now = await self._chunks.want(self._embedder.wanted)
        until_s = self._ctx.clock.monotonic_s() + TURN_S
        # What serves is looked through once: it took over while another node finished a file with the one before.
        for model in (now.coming, "" if self._is_checked else now.model):
            if model and not await self._fill(model, until_s):
                return
        if self._near.is_there and not self._is_checked:
            for file_id in await self._chunks.ready():
                await self._near.complete(file_id, now.model)
                if self._ctx.clock.monotonic_s() > until_s:
                    await self._ctx.jobs.enqueue("knowledge.renew", {})
                    return
        self._is_checked = True
        if now.coming and await self._chunks.switch(now.coming):
            self._ctx.log.info("knowledge_model_serves", model=now.coming)
        if not (await self._chunks.serving()).coming:
            await self._chunks.clear_others(self._embedder.wanted)

    async def _fill(self, model: str, until_s: float) -> bool:
        """A vector of this model for every passage; False when that took too long, or failed."""
        files = await self._chunks.lacking(model)
        for file in files:
            account = await self._ctx.accounts.by_id(file.owner_id)
            if account is None:
                continue
            try:
                is_whole = await self._ingest.embed_missing(file, model, account, until_s)
            except ChatserverError as error:
                self._is_told = True
                await self._ctx.notices.tell(
                    NOTICE,
                    "The model %(model)s gives no embeddings: %(why)s Until it does, files in collections are searched"
                    " as they were.",
                    model=name_of(model),
                    why=error.message,
                )
                return False
            if not is_whole:
                await self._ctx.jobs.enqueue("knowledge.renew", {})
                return False
        if files or self._is_told:
            self._is_told = False
            await self._ctx.notices.clear(NOTICE)
        return True

    async def render(self, context: SlotContext) -> str | None:
        """The card among the admins' figures: which model embeds, and how far a coming one is."""
        if context.slot != "admin.card":
            return None
        now = await self._chunks.serving()
        made = await self._chunks.renewal(now.coming or now.model)
        serving = name_of(now.model or self._embedder.wanted)
        return str(
            self._ctx.pages.render(
                "card.html", serving=serving, coming=name_of(now.coming), made=made, compares=self._near.is_there
            )
        )


def name_of(model: str) -> str:
    return model.removeprefix(CHANNEL)
