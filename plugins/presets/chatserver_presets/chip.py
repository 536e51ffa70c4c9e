"""The preset in the message box: a list to pick from, the chip of the one picked, and the fields of its variables."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chatserver import BadInput, Context, SlotContext, ngettext
from chatserver import gettext as _
from chatserver_presets.applying import FIELD
from chatserver_presets.preset import Choice, Preset, read_choice
from chatserver_presets.shelf import Shelf


class Line(msgspec.Struct, frozen=True):
    """One preset as a list shows it."""

    id: str
    name: str
    note: str
    model: str


class Chip:
    """Rendered into the slot `composer.tools`; the select in it is what the form sends, with a script or without."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def open(self, ctx: Context) -> None:
        self._pages = ctx.pages

    async def render(self, context: SlotContext) -> str:
        presets = await self._shelf.all(context.account.id)
        choice = _choice_of(context.fields)
        picked = next((preset for preset in presets if preset.id == choice.id), None)
        return str(
            self._pages.render(
                "tools.html",
                lines=[line_of(preset) for preset in presets],
                picked=picked,
                fields=fields_of(picked, choice.values),
                is_new=not context.conversation_id,
            )
        )


def line_of(preset: Preset) -> Line:
    content = preset.content
    notes = [content.model] if content.model else []
    if count := len(content.variables):
        notes.append(ngettext("{count} variable", "{count} variables", count).format(count=count))
    if not notes:
        notes.append(_("any model"))
    return Line(preset.id, preset.name, " · ".join(notes), content.model)


def fields_of(preset: Preset | None, values: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables to fill in, each with the value it has."""
    return [(name, values.get(name, "")) for name in preset.content.variables] if preset else []


def _choice_of(fields: Mapping[str, msgspec.Raw]) -> Choice:
    """What the branch or the address names; nonsense in an address names nothing."""
    given = fields.get(FIELD)
    try:
        return read_choice(given) if given is not None else Choice()
    except BadInput:
        return Choice()
