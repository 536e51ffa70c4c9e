"""Which servers a chat has switched on: chosen in the message box, kept with each turn, taken over by the next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from chatserver import BadInput, Context, PageFiles, SendRequest, SlotContext
from chatserver import gettext as _
from chatserver_mcp.offering import Offering

FIELD = "mcp"
HERE = Path(__file__).resolve().parent


class Choice(msgspec.Struct, frozen=True):
    """servers: by name, as programs say it. on: as a form says it, the boxes that are ticked."""

    servers: tuple[str, ...] = ()
    on: dict[str, str] = {}
    set: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.servers, *self.on)))


class Choosing:
    """What lasts for a branch: a send that says nothing has what the turn above it had."""

    files = PageFiles(str(HERE / "templates"), str(HERE / "static"))

    def __init__(self, offering: Offering) -> None:
        self._offering = offering

    def open(self, ctx: Context) -> None:
        self._pages = ctx.pages

    def complete(self, request: SendRequest) -> SendRequest | None:
        """The request with the servers that will be asked. Raises BadInput for one that is not there."""
        given = request.fields.get(FIELD, request.above.get(FIELD))
        if given is None:
            return None
        names = _read(given)
        known = tuple(name for name in names if name in self._offering.connections)
        if FIELD in request.fields and known != names:
            raise BadInput(
                _("There is no such tool server here. Take it away, or pick another."),
                code="unknown_tool_server",
                status=422,
            )
        kept = msgspec.Raw(msgspec.json.encode({"servers": known}))
        return msgspec.structs.replace(request, fields={**request.fields, FIELD: kept})

    def chosen(self, fields: Mapping[str, msgspec.Raw]) -> tuple[str, ...]:
        given = fields.get(FIELD)
        try:
            return _read(given) if given is not None else ()
        except BadInput:
            return ()

    def render(self, context: SlotContext) -> str | None:
        if not self._offering.connections:
            return None
        on = self.chosen(context.fields)
        servers = [(name, name in on) for name in self._offering.connections]
        count = sum(is_on for _name, is_on in servers)
        return str(self._pages.render("tools.html", servers=servers, count=count))


def _read(given: msgspec.Raw) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(given, type=Choice).names
    except msgspec.MsgspecError:
        raise BadInput(_("Tool servers are named in a list."), code="bad_tool_servers", status=422) from None
