"""`GET /v1/models`: what this key may use, in the format of whoever asks."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

import msgspec

from chatserver import Context, Model, NotFound
from chatserver_openai_api.sending import send_json

_encode = msgspec.json.Encoder().encode
OWNER = "chatserver"
BORN = "1970-01-01T00:00:00Z"
"""When a model was made nobody here knows; the format wants a moment."""


class OpenAIModel(msgspec.Struct, frozen=True):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = OWNER
    context_length: int | msgspec.UnsetType = msgspec.UNSET


class OpenAIList(msgspec.Struct, frozen=True):
    data: list[OpenAIModel]
    object: str = "list"


class AnthropicModel(msgspec.Struct, frozen=True):
    id: str
    display_name: str
    type: str = "model"
    created_at: str = BORN


class AnthropicList(msgspec.Struct, frozen=True):
    data: list[AnthropicModel]
    first_id: str | None
    last_id: str | None
    has_more: bool = False


class Listing:
    """Two ASGI apps: all of them, and one by its name."""

    def open(self, ctx: Context) -> None:
        self._calls = ctx.calls

    async def show_all(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        models = self._calls.models(scope["state"]["actor"])
        if _is_anthropic(scope):
            data = [_theirs(model) for model in models]
            await send_json(
                send, _encode(AnthropicList(data, data[0].id if data else None, data[-1].id if data else None))
            )
        else:
            await send_json(send, _encode(OpenAIList([_ours(model) for model in models])))

    async def show_one(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        name = unquote(scope["state"]["path"].removeprefix("/v1/models/"))
        for model in self._calls.models(scope["state"]["actor"]):
            if model.id == name:
                await send_json(send, _encode(_theirs(model) if _is_anthropic(scope) else _ours(model)))
                return
        raise NotFound(
            f"There is no model {name[:100]!r} here. GET /v1/models lists what this key may use.", code="unknown_model"
        )


def check_model(actor: Any, model: str, known: tuple[str, ...]) -> None:
    """Raises NotFound for another model than these, or one this key may not use."""
    if model not in known or not actor.may_use(model):
        raise NotFound(f"There is no model {model[:100]!r} for this. Ask for {known[0]}.", code="unknown_model")


def _is_anthropic(scope: dict[str, Any]) -> bool:
    return any(name == b"anthropic-version" for name, _ in scope["headers"])


def _ours(model: Model) -> OpenAIModel:
    return OpenAIModel(model.id, context_length=model.context_tokens or msgspec.UNSET)


def _theirs(model: Model) -> AnthropicModel:
    return AnthropicModel(model.id, model.title)
