"""What a person set for one chat: its system prompt, and how its models are to answer."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chatserver.domain.models import Model

ReasoningEffort = Literal["low", "medium", "high"]
EFFORTS: tuple[ReasoningEffort, ...] = ("low", "medium", "high")
HIGHEST_TEMPERATURE = 2.0
MOST_OUTPUT_TOKENS = 1_000_000
SYSTEM_PROMPT_LIMIT = 50_000
"""Characters."""


class Parameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """None, 0 and '' leave a parameter to the model. temperature: from 0 to 2; max_output: tokens of an answer."""

    temperature: float | None = None
    max_output: int = 0
    reasoning_effort: ReasoningEffort | Literal[""] = ""

    def for_model(self, model: Model) -> dict[str, Any]:
        """Those this model knows, by their common names; what it may write is its own bound."""
        found: dict[str, Any] = {}
        if self.temperature is not None:
            found["temperature"] = self.temperature
        if self.max_output:
            found["max_output"] = min(self.max_output, model.max_output_tokens or self.max_output)
        if self.reasoning_effort and "reasoning" in model.abilities:
            found["reasoning_effort"] = self.reasoning_effort
        return found


class Tuning(msgspec.Struct, frozen=True, omit_defaults=True):
    """Stored with a conversation, and sent with every question in it, whichever way the question came."""

    system_prompt: str = ""
    parameters: Parameters = Parameters()


UNTUNED = Tuning()


encode_parameters = msgspec.json.Encoder().encode
decode_parameters = msgspec.json.Decoder(Parameters).decode
