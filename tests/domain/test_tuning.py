"""A model is sent only what it knows of what a chat is set to."""

from __future__ import annotations

from chatserver.domain.models import Model
from chatserver.domain.tuning import Parameters, Tuning


def test_what_a_model_does_not_know_is_not_sent_to_it() -> None:
    tuning = Tuning("", Parameters(0.0, 5000, "high"))
    assert tuning.parameters.for_model(Model("m")) == {"temperature": 0.0, "max_output": 5000}
    thinker = Model("t", max_output_tokens=4096, abilities=("reasoning",))
    assert tuning.parameters.for_model(thinker) == {"temperature": 0.0, "max_output": 4096, "reasoning_effort": "high"}
    assert Tuning().parameters.for_model(thinker) == {}
