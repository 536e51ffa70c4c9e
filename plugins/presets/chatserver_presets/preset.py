"""What a preset is: its texts, the variables in them, and what may stand there. Pure values."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from chatserver import BadInput, Parameters, list_text, number_text
from chatserver import gettext as _

NAME_LIMIT = 80
TEXT_LIMIT = 20_000
VALUE_LIMIT = 4_000
VARIABLES_LIMIT = 20
HIGHEST_TEMPERATURE = 2.0
MOST_OUTPUT_TOKENS = 1_000_000
EFFORTS = ("low", "medium", "high")

_VARIABLE = re.compile(r"\{\{\s*([^\W\d]\w{0,39})\s*\}\}")


class Content(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one version holds. before: instructions above the conversation; after: added to each question."""

    name: str
    before: str = ""
    after: str = ""
    model: str = ""
    parameters: Parameters = Parameters()

    @property
    def variables(self) -> tuple[str, ...]:
        """The names in double braces, each once, in the order they are met."""
        return tuple(dict.fromkeys(_VARIABLE.findall(f"{self.before}\n{self.after}")))


class Version(msgspec.Struct, frozen=True):
    """A content as it was saved. saved_at: microseconds UTC."""

    number: int
    saved_at: int
    content: Content


class Preset(msgspec.Struct, frozen=True):
    """The newest version under its id."""

    id: str
    version: int
    changed_at: int
    content: Content

    @property
    def name(self) -> str:
        return self.content.name


class Choice(msgspec.Struct, frozen=True, omit_defaults=True):
    """The field of a send. id '': none. version 0: the newest; a turn that was asked names the one it used."""

    id: str = ""
    version: int = 0
    values: dict[str, str] = {}


def read_choice(raw: msgspec.Raw) -> Choice:
    """Raises BadInput for what is neither a choice nor the id of a preset."""
    try:
        given = msgspec.json.decode(raw, type=Choice | str)
    except msgspec.MsgspecError:
        raise BadInput(
            'A preset is named as {"id": "…", "values": {"name": "text"}}.', code="bad_preset", status=422
        ) from None
    return Choice(given) if isinstance(given, str) else given


def check_content(content: Content) -> Content:
    """The content with its ends trimmed. Raises BadInput with what to change."""
    name = " ".join(content.name.split())
    if not name:
        raise BadInput(_("Give the preset a name."), code="no_name", status=422)
    if len(name) > NAME_LIMIT:
        raise _too_long(_("The name"), NAME_LIMIT)
    before, after = content.before.strip(), content.after.strip()
    for title, text in ((_("The instructions"), before), (_("What is added to each question"), after)):
        if len(text) > TEXT_LIMIT:
            raise _too_long(title, TEXT_LIMIT)
    clean = msgspec.structs.replace(content, name=name, before=before, after=after)
    if any("\x00" in text for text in (name, before, after, content.model)):
        raise BadInput(_("The text holds characters that cannot be stored. Remove them."), code="bad_text", status=422)
    if len(clean.variables) > VARIABLES_LIMIT:
        limit = _("A preset may have {count} variables. Take some away.").format(count=VARIABLES_LIMIT)
        raise BadInput(limit, code="too_many_variables", status=422)
    return clean


def read_parameters(temperature: str, max_output: str, effort: str) -> Parameters:
    """From what somebody typed. Raises BadInput."""
    warmth: float | None = None
    if temperature.strip():
        try:
            warmth = float(temperature.replace(",", "."))
        except ValueError:
            warmth = -1
        if not 0 <= warmth <= HIGHEST_TEMPERATURE:
            raise BadInput(_("The temperature is a number from 0 to 2."), code="bad_temperature", status=422)
    tokens = 0
    if max_output.strip():
        digits = max_output.strip()
        tokens = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else -1
        if not 0 <= tokens <= MOST_OUTPUT_TOKENS:
            text = _("The longest answer is a number of tokens, up to 1,000,000.")
            raise BadInput(text, code="bad_max_output", status=422)
    if effort and effort not in EFFORTS:
        raise BadInput(_("Pick a reasoning effort from the list."), code="bad_effort", status=422)
    return msgspec.convert({"temperature": warmth, "max_output": tokens, "reasoning_effort": effort}, type=Parameters)


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables replaced, once: what a value holds is text, also when it looks like a variable."""
    return _VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


def check_values(content: Content, values: Mapping[str, str]) -> dict[str, str]:
    """The values of the content's variables. Raises BadInput naming those that are missing or too long."""
    wanted = content.variables
    missing = [name for name in wanted if not values.get(name, "").strip()]
    if missing:
        raise BadInput(
            _("The preset {name} wants a value for: {variables}. Fill it in, then send again.").format(
                name=content.name, variables=list_text(missing)
            ),
            code="missing_values",
            status=422,
        )
    for name in wanted:
        if len(values[name]) > VALUE_LIMIT:
            raise _too_long(name, VALUE_LIMIT)
    return {name: values[name] for name in wanted}


def _too_long(title: str, limit: int) -> BadInput:
    text = _("{title} may have {count} characters. Shorten it.").format(title=title, count=number_text(limit))
    return BadInput(text, code="too_long", status=422)
