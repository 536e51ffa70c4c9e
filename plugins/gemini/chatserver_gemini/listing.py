"""Which models the vendor tells of, how much they read and whether they think."""

from __future__ import annotations

import msgspec

from chatserver import Model
from chatserver_gemini.question import can_think

_NOT_CHAT = ("embedding", "imagen", "veo", "aqa", "-tts", "-live", "native-audio", "lyria", "robotics", "computer-use")


class Listed(msgspec.Struct, rename="camel"):
    name: str = ""
    display_name: str = ""
    input_token_limit: int = 0
    output_token_limit: int = 0
    supported_generation_methods: list[str] | None = None
    thinking: bool | None = None

    @property
    def id(self) -> str:
        return self.name.removeprefix("models/")

    @property
    def thinks(self) -> bool:
        return can_think(self.id) if self.thinking is None else self.thinking

    @property
    def can_chat(self) -> bool:
        methods = self.supported_generation_methods
        if methods is not None and "generateContent" not in methods:
            return False
        return bool(self.id) and not any(word in self.id for word in _NOT_CHAT)

    @property
    def embeds(self) -> bool:
        return bool(self.id) and "embedContent" in (self.supported_generation_methods or ())


class Page(msgspec.Struct, rename="camel"):
    models: list[Listed] = []
    next_page_token: str = ""


decode_page = msgspec.json.Decoder(Page, strict=False).decode


def model_of(listed: Listed) -> Model:
    """Gemini sees, calls tools and keeps to a schema; the open models beside it see, and some do not call. What does
    not chat embeds."""
    if not listed.can_chat:
        return Model(listed.id, abilities=("embeddings",))
    is_gemini = "gemini" in listed.id
    abilities = ("images", "tools", "json") if is_gemini else ()
    return Model(
        id=listed.id,
        name=listed.display_name if listed.display_name != listed.id else "",
        context_tokens=max(0, listed.input_token_limit),
        max_output_tokens=max(0, listed.output_token_limit),
        abilities=(*abilities, "reasoning") if listed.thinks else abilities,
    )
