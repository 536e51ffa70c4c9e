"""What a chat is set to, as its form shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chatserver import words
from chatserver.domain.conversations import Conversation
from chatserver.domain.models import Model
from chatserver.domain.tuning import EFFORTS, UNTUNED
from chatserver.words import gettext as _


class TuningView(msgspec.Struct, frozen=True):
    """The form as it stands. model: the one it is offered for; can_reason: whether that one takes an effort.
    is_old: the chat is there already, else sending the form makes it."""

    model: str
    system_prompt: str
    temperature: str
    max_output: str
    reasoning_effort: str
    efforts: tuple[tuple[str, str], ...]
    can_reason: bool
    effort_note: str
    output_help: str
    is_old: bool
    is_temporary: bool


def tuning_view(
    conversation: Conversation | None,
    models: Sequence[Model],
    wanted: str,
    *,
    is_temporary: bool = False,
    given: Mapping[str, str] | None = None,
) -> TuningView:
    """wanted: the model picked in the composer. given: what was sent and did not do, to be mended."""
    tuning = conversation.tuning if conversation else UNTUNED
    kept = tuning.parameters
    model = next((one for one in models if one.id == wanted), None)
    given = given or {}
    can_reason = model is not None and "reasoning" in model.abilities
    note = ""
    if kept.reasoning_effort and model is not None and not can_reason:
        note = _("{model} takes no reasoning effort; it is kept for models that do.").format(model=model.title)
    most = model.max_output_tokens if model is not None else 0
    return TuningView(
        model=wanted,
        system_prompt=given.get("system_prompt", tuning.system_prompt),
        temperature=given.get("temperature", "" if kept.temperature is None else f"{kept.temperature:g}"),
        max_output=given.get("max_output", str(kept.max_output or "")),
        reasoning_effort=given.get("reasoning_effort", kept.reasoning_effort),
        efforts=(("", _("The model’s own")), *zip(EFFORTS, (_("Low"), _("Medium"), _("High")), strict=True)),
        can_reason=can_reason,
        effort_note=note,
        output_help=_("Tokens, at most {count} with this model.").format(count=words.number_text(most))
        if most
        else _("In tokens."),
        is_old=conversation is not None,
        is_temporary=is_temporary,
    )
