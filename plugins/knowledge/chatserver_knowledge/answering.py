"""What a question is given along: the collections it is looked up in, and the passages that fit it, as sources."""

from __future__ import annotations

import msgspec

from chatserver import Actor, BadInput, NotFound, Prompt, SendRequest, text_of
from chatserver import gettext as _
from chatserver_knowledge.quotes import source_of
from chatserver_knowledge.searching import Searching
from chatserver_knowledge.shelf import Shelf

FIELD = "knowledge"
SOURCES = 6


class Choice(msgspec.Struct, frozen=True):
    """As the page says it; a program sends the list alone."""

    ids: tuple[str, ...] = ()
    on: dict[str, str] = {}
    set: str = ""

    @property
    def all(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.ids, *self.on)))


class Answering:
    def __init__(self, shelf: Shelf, searching: Searching) -> None:
        self._shelf = shelf
        self._searching = searching

    async def complete(self, request: SendRequest) -> SendRequest | None:
        """The request with the collections it will be answered from. Raises BadInput for one that is not there."""
        given = request.fields.get(FIELD, request.above.get(FIELD))
        if given is None:
            return None
        actor = Actor(request.account, request.origin)
        kept = []
        for one in read_choice(given):
            try:
                kept.append((await self._shelf.get(actor, one)).id)
            except NotFound:
                if FIELD in request.fields:
                    raise BadInput(
                        _("There is no such collection. Take it away, or pick another."),
                        code="unknown_collection",
                        status=422,
                    ) from None
        field = msgspec.Raw(msgspec.json.encode({"ids": kept}))
        return msgspec.structs.replace(request, fields={**request.fields, FIELD: field})

    async def add(self, prompt: Prompt) -> Prompt | None:
        given = prompt.fields.get(FIELD)
        chosen = list(read_choice(given)) if given is not None else []
        question = next((text_of(one.parts) for one in reversed(prompt.messages) if one.role == "user"), "")
        if not chosen or not question.strip():
            return None
        try:
            hits = await self._searching.search(Actor(prompt.account, "job"), question, chosen, SOURCES)
        except NotFound:  # a collection went away meanwhile
            return None
        if not hits:
            return None
        return msgspec.structs.replace(prompt, sources=(*prompt.sources, *map(source_of, hits)))


def read_choice(given: msgspec.Raw) -> tuple[str, ...]:
    """Raises BadInput."""
    try:
        told = msgspec.json.decode(given, type=list[str] | Choice)
    except msgspec.MsgspecError:
        raise BadInput(_("Collections are named in a list of ids."), code="bad_collections", status=422) from None
    return tuple(dict.fromkeys(told)) if isinstance(told, list) else told.all
