"""The console's page of dictation: who listens here, and an address that may do so instead."""

from __future__ import annotations

from chatserver import BadInput, PageAnswer, PageVisit, Route
from chatserver_dictation.elsewhere import Elsewhere
from chatserver_dictation.whisper import Whisper

ADMIN = "admin.console"
POST = ("POST",)
FIELDS = ("title", "base_url", "model")


class Desk:
    def __init__(self, elsewhere: Elsewhere, whisper: Whisper) -> None:
        self._elsewhere = elsewhere
        self._whisper = whisper

    def routes(self) -> list[Route]:
        return [
            Route("/admin", page=self.show, permission=ADMIN),
            Route("/admin", page=self.keep, methods=POST, permission=ADMIN),
            Route("/admin/remove", page=self.remove, methods=POST, permission=ADMIN),
        ]

    async def show(self, visit: PageVisit) -> PageAnswer:
        return await self._page(visit, {})

    async def keep(self, visit: PageVisit) -> PageAnswer:
        typed = {name: visit.form.get(name, "").strip() for name in FIELDS}
        try:
            await self._elsewhere.keep(visit.actor, **typed, key=visit.form.get("key", "").strip())
        except BadInput as error:
            return await self._page(visit, typed, problem=error)
        return visit.go("/x/dictation/admin")

    async def remove(self, visit: PageVisit) -> PageAnswer:
        await self._elsewhere.remove(visit.actor)
        return visit.go("/x/dictation/admin")

    async def _page(self, visit: PageVisit, typed: dict[str, str], *, problem: Exception | None = None) -> PageAnswer:
        return await visit.page(
            "admin.html",
            problem=problem,
            typed={**dict.fromkeys(FIELDS, ""), **typed},
            address=await self._elsewhere.address(),
            has_whisper=await self._whisper.is_ready(),
            is_english=self._whisper.is_english,
        )
