"""For people: the collections, one of them with its files, a passage, the chooser in the message box."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatserver import (
    Actor,
    BadInput,
    Conflict,
    Context,
    NotFound,
    PageAnswer,
    PageFiles,
    PageVisit,
    Route,
    SlotContext,
)
from chatserver_knowledge.answering import FIELD, read_choice
from chatserver_knowledge.quotes import Quotes
from chatserver_knowledge.shelf import Collection, KnownFile, Shelf

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))
POST = ("POST",)


class Pages:
    def __init__(self, shelf: Shelf, quotes: Quotes) -> None:
        self._shelf = shelf
        self._quotes = quotes

    def open(self, ctx: Context) -> None:
        self._pages, self._files = ctx.pages, ctx.files

    def routes(self) -> list[Route]:
        return [
            Route("/", page=self.show_all),
            Route("/", page=self.create, methods=POST),
            Route("/c/{collection}", page=self.show),
            Route("/c/{collection}/change", page=self.change, methods=POST),
            Route("/c/{collection}/add", page=self.add, methods=POST),
            Route("/c/{collection}/remove", page=self.remove, methods=POST),
            Route("/c/{collection}/retry", page=self.retry, methods=POST),
            Route("/c/{collection}/take-out", page=self.take_out, methods=POST),
            Route("/p/{file}/{place}", page=self.show_passage),
        ]

    async def show_all(self, visit: PageVisit) -> PageAnswer:
        return await self._list(visit)

    async def create(self, visit: PageVisit) -> PageAnswer:
        try:
            made = await self._shelf.create(visit.actor, visit.form.get("name", ""))
        except BadInput as error:
            return await self._list(visit, problem=error)
        return visit.go(f"/x/knowledge/c/{made}")

    async def show(self, visit: PageVisit) -> PageAnswer:
        collection = await self._shelf.get(visit.actor, visit.path["collection"])
        if visit.is_htmx:
            files = await self._shelf.files(collection.id)
            return visit.fragment("files.html", **_values(visit, collection, files))
        return await self._show(visit, collection, collection.name, collection.readers)

    async def change(self, visit: PageVisit) -> PageAnswer:
        """Its name, and with whom it is shared."""
        name, groups = visit.form.get("name", ""), visit.listed("group")
        collection = await self._shelf.own(visit.actor, visit.path["collection"])
        try:
            await self._shelf.change(visit.actor, collection.id, name=name, groups=groups)
        except BadInput as error:
            return await self._show(visit, collection, name, groups, problem=error)
        return visit.go(f"/x/knowledge/c/{collection.id}")

    async def add(self, visit: PageVisit) -> PageAnswer:
        """A file that was brought in before."""
        collection = await self._shelf.own(visit.actor, visit.path["collection"])
        try:
            await self._shelf.put_in(visit.actor, collection.id, visit.form.get("file", ""))
        except Conflict as error:
            return await self._show(visit, collection, collection.name, collection.readers, problem=error)
        return visit.go(f"/x/knowledge/c/{collection.id}")

    async def remove(self, visit: PageVisit) -> PageAnswer:
        await self._shelf.remove(visit.actor, visit.path["collection"])
        return visit.go("/x/knowledge/")

    async def retry(self, visit: PageVisit) -> PageAnswer:
        collection = await self._shelf.own(visit.actor, visit.path["collection"])
        for one in await self._shelf.files(collection.id):
            if one.id == visit.form.get("file") and one.state == "failed":
                await self._shelf.queue(one)
        return visit.go(f"/x/knowledge/c/{collection.id}")

    async def take_out(self, visit: PageVisit) -> PageAnswer:
        collection = await self._shelf.own(visit.actor, visit.path["collection"])
        known = next((one for one in await self._shelf.files(collection.id) if one.id == visit.form.get("file")), None)
        if known is None:
            raise NotFound
        await self._shelf.take_out(visit.actor, known)
        return visit.go(f"/x/knowledge/c/{collection.id}")

    async def show_passage(self, visit: PageVisit) -> PageAnswer:
        """Where a source of an answer leads: a fragment for the tab beside the chat, else a page."""
        shown = await self._quotes.show(visit.actor, visit.path["file"], visit.path["place"])
        if visit.is_htmx:
            return visit.fragment("passage.html", shown=shown)
        return await visit.page("passage_page.html", shown=shown)

    async def render(self, context: SlotContext) -> str | None:
        if context.slot == "composer.tools":
            collections = await self._shelf.all(Actor(context.account, "web"))
            if not collections:
                return None
            given = context.fields.get(FIELD)
            try:
                on = read_choice(given) if given is not None else ()
            except BadInput:
                on = ()
            lines = [(one, one.id in on) for one in collections]
            return str(self._pages.render("tools.html", lines=lines, count=sum(is_on for _one, is_on in lines)))
        return None

    async def _show(
        self,
        visit: PageVisit,
        collection: Collection,
        name: str,
        groups: Sequence[str],
        *,
        problem: Exception | None = None,
    ) -> PageAnswer:
        """name, groups: as the form has them."""
        files = await self._shelf.files(collection.id)
        values = _values(visit, collection, files)
        inside = {one.file_id for one in files}
        stored, _ = await self._files.list(visit.actor) if values["is_mine"] else ([], None)
        offered = [one for one in stored if one.id not in inside and one.kind != "image"]
        known = dict.fromkeys((*visit.actor.account.groups, *collection.readers, *groups))
        lines = [(one, one in groups) for one in known]
        return await visit.page("collection.html", problem=problem, typed=name, groups=lines, offered=offered, **values)

    async def _list(self, visit: PageVisit, *, problem: Exception | None = None) -> PageAnswer:
        collections = await self._shelf.all(visit.actor)
        counts = {one.id: len(await self._shelf.files(one.id)) for one in collections}
        return await visit.page(
            "list.html", problem=problem, collections=collections, counts=counts, me=visit.actor.account_id
        )


def _values(visit: PageVisit, collection: Collection, files: Sequence[KnownFile]) -> dict[str, Any]:
    """For the template: the collection, its files, whose it is, and whether one is being read."""
    return {
        "collection": collection,
        "files": files,
        "is_mine": collection.owner_id == visit.actor.account_id,
        "is_busy": any(one.state in ("queued", "running") for one in files),
    }
