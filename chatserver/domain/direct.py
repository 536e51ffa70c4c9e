"""A call without a conversation: what is asked of a model directly, by a program or by a plugin."""

from __future__ import annotations

from typing import Any

import msgspec

from chatserver.domain.calls import CallKind
from chatserver.domain.extend import PromptMessage, ToolSpec


class DirectRequest(msgspec.Struct, frozen=True):
    """What is asked. parameters: by their common names, as in `Prompt`. max_output 0: no bound.

    kind `embedding`: `texts` holds what is to be embedded, and `messages` is empty. input_tokens: what the caller
    counted already, 0 for what has to be estimated. labels: written on the call.
    """

    kind: CallKind
    model: str
    messages: tuple[PromptMessage, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    parameters: dict[str, Any] = {}
    max_output: int = 0
    labels: dict[str, str] = {}
    texts: tuple[str, ...] = ()
    input_tokens: int = 0
