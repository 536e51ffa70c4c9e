"""What a model takes and what it can: told by the vendor's list, else known from its models page by the name."""

from __future__ import annotations

import re

import msgspec

from chatserver import Model

CONTEXT_TOKENS = 200_000
MAX_OUTPUT_TOKENS = 32_000
"""What an answer may have when nobody bounds it and the model could write more."""
OLD_MAX_OUTPUT_TOKENS = 4_096

_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2})(?!\d))?")


class Facts(msgspec.Struct, frozen=True):
    """thinking: how it is asked to think, `adaptive`, `enabled` with a budget, or '' for not at all. has_effort: takes
    a degree of effort. has_schemas: keeps to a JSON schema. samples: takes a temperature and the like."""

    max_output_tokens: int
    thinking: str
    has_effort: bool
    has_schemas: bool
    samples: bool


class Support(msgspec.Struct, frozen=True):
    supported: bool = False


class ThinkingTypes(msgspec.Struct, frozen=True):
    adaptive: Support = Support()
    enabled: Support = Support()


class Thinking(msgspec.Struct, frozen=True):
    supported: bool = False
    types: ThinkingTypes = ThinkingTypes()


class Capabilities(msgspec.Struct, frozen=True):
    image_input: Support = Support(True)
    effort: Support = Support()
    structured_outputs: Support = Support()
    thinking: Thinking = Thinking()


class Listed(msgspec.Struct):
    """One model of the vendor's list. Lists of relays tell only the id."""

    id: str
    display_name: str = ""
    lifecycle: str = ""
    max_input_tokens: int | None = None
    max_tokens: int | None = None
    capabilities: Capabilities | None = None


class Page(msgspec.Struct):
    data: list[Listed]
    has_more: bool = False
    last_id: str | None = None


decode_page = msgspec.json.Decoder(Page, strict=False).decode


def facts_by_name(name: str) -> Facts:
    """A name nobody knows is taken for the newest."""
    match = _VERSION.search(name)
    version = (int(match[1]), int(match[2] or 0)) if match else (99, 0)
    if version < (3, 5):
        most = OLD_MAX_OUTPUT_TOKENS
    elif version < (3, 7):
        most = 8_192
    else:
        most = MAX_OUTPUT_TOKENS
    return Facts(
        max_output_tokens=most,
        thinking="adaptive" if version >= (4, 6) else "enabled" if version >= (3, 7) else "",
        has_effort=version >= (4, 6),
        has_schemas=version >= (4, 5),
        samples=version < (4, 7),
    )


def facts_of(listed: Listed) -> Facts:
    known = facts_by_name(listed.id)
    most = min(listed.max_tokens or known.max_output_tokens, MAX_OUTPUT_TOKENS)
    told = listed.capabilities
    if told is None:
        return msgspec.structs.replace(known, max_output_tokens=most)
    types = told.thinking.types
    return Facts(
        max_output_tokens=most,
        thinking="adaptive" if types.adaptive.supported else "enabled" if types.enabled.supported else "",
        has_effort=told.effort.supported,
        has_schemas=told.structured_outputs.supported,
        samples=known.samples,
    )


def model_of(listed: Listed) -> Model:
    facts = facts_of(listed)
    sees = listed.capabilities is None or listed.capabilities.image_input.supported
    abilities = [
        name
        for name, has in (
            ("images", sees),
            ("tools", True),
            ("reasoning", bool(facts.thinking)),
            ("json", facts.has_schemas),
        )
        if has
    ]
    return Model(
        id=listed.id,
        name=listed.display_name if listed.display_name != listed.id else "",
        context_tokens=listed.max_input_tokens or CONTEXT_TOKENS,
        max_output_tokens=listed.max_tokens or 0,
        abilities=tuple(abilities),
        lacks=() if sees else ("images",),
    )
