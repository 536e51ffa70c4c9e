"""Which models an endpoint tells of, how much they read and what they can, in the shapes found in the wild."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chatserver import Model

MAX_MODELS = 2_000
_CONTEXT_FIELDS = (
    "context_length",  # OpenRouter, Together, new-api
    "max_model_len",  # vLLM, SGLang
    "context_window",  # Groq
    "max_context_length",  # LM Studio, Mistral
    "max_input_tokens",  # LiteLLM
    "context_size",
    "context_tokens",
    "max_context_tokens",
    "input_token_limit",
    "n_ctx",
)
_OUTPUT_FIELDS = ("max_completion_tokens", "max_output_tokens", "max_output_length")
_NOT_CHAT = (
    "embed",
    "whisper",
    "tts",
    "dall-e",
    "moderation",
    "rerank",
    "transcribe",
    "realtime",
    "gpt-image",
    "gpt-audio",
    "sora",
    "davinci-002",
    "babbage-002",
    "-instruct-0914",
    "gpt-3.5-turbo-instruct",
)
_NOT_CHAT_TYPES = {"embedding", "embeddings", "rerank", "reranker", "image", "audio", "moderation", "transcribe"}

# The vendor's own list does not tell; from its models page, longest prefix first.
KNOWN_CONTEXT = (
    ("gpt-5-chat", 128_000),
    ("gpt-5", 400_000),
    ("gpt-4.1", 1_047_576),
    ("gpt-4o", 128_000),
    ("chatgpt-4o", 128_000),
    ("gpt-4-turbo", 128_000),
    ("gpt-4", 8_192),
    ("gpt-3.5-turbo", 16_385),
    ("o1", 200_000),
    ("o3", 200_000),
    ("o4", 200_000),
)

# From the same page. What stands in neither may see or not: it is tried.
KNOWN_BLIND = ("gpt-3.5", "gpt-4-0", "o1-mini", "o1-preview", "o3-mini")
KNOWN_SEEING = ("gpt-5", "gpt-4.1", "gpt-4o", "chatgpt-4o", "gpt-4-turbo", "o1", "o3", "o4")


def read_models(told: Any, *, knows_vendor: bool = False) -> list[Model]:
    """Models of `{"data": […]}`, `{"models": […]}` or a bare list, in its order; what neither chats nor embeds is left
    out."""
    items: Iterable[Any] = ()
    if isinstance(told, dict):
        found = told.get("data") if isinstance(told.get("data"), list) else told.get("models")
        items = found if isinstance(found, list) else ()
    elif isinstance(told, list):
        items = told
    models: dict[str, Model] = {}
    for item in items:
        if isinstance(item, str):
            item = {"id": item}
        if not isinstance(item, dict) or len(models) >= MAX_MODELS:
            continue
        name = item.get("id") or item.get("model") or item.get("name")
        if not isinstance(name, str) or not name:
            continue
        if can_chat(name, item):
            models.setdefault(name, read_model(name, item, knows_vendor=knows_vendor))
        elif embeds(name, item):
            models.setdefault(name, Model(name, abilities=("embeddings",)))
    return list(models.values())


def read_model(name: str, item: dict[str, Any], *, knows_vendor: bool = False) -> Model:
    title = item.get("display_name") or item.get("name")
    context = _first_number(item, _CONTEXT_FIELDS)
    if not context and knows_vendor:
        context = next((size for prefix, size in KNOWN_CONTEXT if name.startswith(prefix)), 0)
    abilities = _abilities(item)
    is_blind = _is_blind(item)
    if knows_vendor:
        is_blind = is_blind or name == "gpt-4" or name.startswith(KNOWN_BLIND)
        if not is_blind and "images" not in abilities and name.startswith(KNOWN_SEEING):
            abilities = ("images", *abilities)
    return Model(
        id=name,
        name=title if isinstance(title, str) and title != name else "",
        context_tokens=context,
        max_output_tokens=_first_number(item, _OUTPUT_FIELDS),
        abilities=abilities,
        lacks=("images",) if is_blind and "images" not in abilities else (),
    )


def can_chat(name: str, item: dict[str, Any]) -> bool:
    if str(item.get("type", "")).lower() in _NOT_CHAT_TYPES:
        return False
    outputs = _inner(item, "architecture").get("output_modalities")
    if isinstance(outputs, list) and outputs and "text" not in outputs:
        return False
    capabilities = item.get("capabilities")
    if isinstance(capabilities, dict) and capabilities.get("completion_chat") is False:
        return False
    lowered = name.lower()
    return not any(word in lowered for word in _NOT_CHAT)


def embeds(name: str, item: dict[str, Any]) -> bool:
    """Of what cannot chat: whether it turns texts into vectors."""
    kind = str(item.get("type", "")).lower()
    return kind in ("embedding", "embeddings") or (not kind and "embed" in name.lower())


def read_props(told: Any) -> int:
    """The window a llama.cpp server really runs with, from its /props; its model list tells only the trained one."""
    settings = told.get("default_generation_settings") if isinstance(told, dict) else None
    return _number(settings.get("n_ctx")) if isinstance(settings, dict) else 0


def read_told(model: Model, info: dict[str, Any] | None) -> Model:
    """A model of the list with what a LiteLLM proxy tells of it beside the list."""
    if info is not None and info.get("mode") == "embedding":
        return Model(model.id, abilities=("embeddings",))
    return read_model(model.id, info) if info is not None and model.chats else model


def read_details(told: Any) -> dict[str, dict[str, Any]]:
    """What a LiteLLM proxy tells beside its list, by model: `/model/info`."""
    details: dict[str, dict[str, Any]] = {}
    for item in told.get("data", ()) if isinstance(told, dict) else ():
        if isinstance(item, dict) and isinstance(item.get("model_info"), dict):
            details.setdefault(str(item.get("model_name", "")), item["model_info"])
    return details


def _first_number(item: dict[str, Any], fields: tuple[str, ...]) -> int:
    places = (item, _inner(item, "top_provider"), _inner(item, "meta"), _inner(item, "model_info"))
    for place in places:
        for field in fields:
            if number := _number(place.get(field)):
                return number
    return _number(_inner(item, "meta").get("n_ctx_train")) if "n_ctx" in fields else 0


def _inner(item: dict[str, Any], name: str) -> dict[str, Any]:
    value = item.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> int:
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return int(value) if 0 < value < 1_000_000_000 else 0


def _is_blind(item: dict[str, Any]) -> bool:
    """Whether an endpoint says that the model sees no pictures; most say nothing."""
    capabilities = item.get("capabilities")
    if isinstance(capabilities, dict) and any(capabilities.get(name) is False for name in ("vision", "multimodal")):
        return True
    if isinstance(capabilities, list) and "completion" in capabilities:  # Ollama's list is complete
        return "vision" not in capabilities
    inputs = _inner(item, "architecture").get("input_modalities") or item.get("input_modalities")
    if isinstance(inputs, list) and inputs:
        return "image" not in inputs
    return item.get("supports_vision") is False or _inner(item, "model_info").get("supports_vision") is False


def _abilities(item: dict[str, Any]) -> tuple[str, ...]:
    told: set[str] = set()
    capabilities = item.get("capabilities")
    if isinstance(capabilities, dict):
        told |= {str(name) for name, value in capabilities.items() if value is True}
    elif isinstance(capabilities, list):
        told |= {str(name) for name in capabilities}
    for name in ("supported_parameters", "supported_features", "features"):
        value = item.get(name)
        if isinstance(value, list):
            told |= {str(one) for one in value}
    inputs = _inner(item, "architecture").get("input_modalities") or item.get("input_modalities")
    if isinstance(inputs, list):
        told |= {f"input:{one}" for one in inputs}
    told |= {name for name, value in item.items() if name.startswith("supports_") and value is True}
    found = []
    if told & {"vision", "multimodal", "input:image", "supports_vision", "image"}:
        found.append("images")
    if told & {"tools", "function_calling", "tool_calling", "supports_function_calling", "tool_use"}:
        found.append("tools")
    if told & {"reasoning", "thinking", "include_reasoning", "supports_reasoning"}:
        found.append("reasoning")
    if told & {"response_format", "structured_outputs", "json_mode", "supports_response_schema"}:
        found.append("json")
    return tuple(found)
