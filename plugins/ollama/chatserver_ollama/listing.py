"""Which models an Ollama has, how large they are, how much they read and what they can."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from chatserver import Model

_NUM_CTX = re.compile(r"^num_ctx\s+(\d+)", re.M)
_UNITS = ("kB", "MB", "GB", "TB")


class Details(msgspec.Struct):
    parameter_size: str = ""
    family: str = ""


class Tag(msgspec.Struct):
    """One model of /api/tags. size: bytes on disk."""

    name: str = ""
    model: str = ""
    size: int = 0
    digest: str = ""
    details: Details | None = None

    @property
    def id(self) -> str:
        return self.model or self.name


class Tags(msgspec.Struct):
    models: list[Tag] | None = None


class Shown(msgspec.Struct):
    """What /api/show tells of a model. parameters: what its Modelfile sets, a line each."""

    capabilities: list[str] | None = None
    model_info: dict[str, Any] | None = None
    parameters: str | None = None

    @property
    def can_chat(self) -> bool:
        return self.capabilities is None or "completion" in self.capabilities

    @property
    def embeds(self) -> bool:
        """Of what cannot chat."""
        return self.capabilities is not None and "embedding" in self.capabilities

    @property
    def thinks(self) -> bool | None:
        """None when it does not say."""
        return None if self.capabilities is None else "thinking" in self.capabilities

    @property
    def set_tokens(self) -> int:
        """The window its Modelfile asks for, 0 when it leaves that open."""
        found = _NUM_CTX.search(self.parameters or "")
        return int(found[1]) if found else 0

    @property
    def trained_tokens(self) -> int:
        """The window it was trained for, 0 when it is not told."""
        for name, value in (self.model_info or {}).items():
            if name.endswith(".context_length") and isinstance(value, int) and value > 0:
                return value
        return 0


decode_tags = msgspec.json.Decoder(Tags, strict=False).decode
decode_shown = msgspec.json.Decoder(Shown, strict=False).decode


def model_of(tag: Tag, shown: Shown, bound_tokens: int) -> Model | None:
    """None for what neither chats nor embeds. bound_tokens: the window Ollama was started with, 0 when that is not
    known."""
    if not shown.can_chat or (shown.capabilities is None and "embed" in tag.id):
        embeds = shown.embeds or shown.capabilities is None
        return Model(tag.id, abilities=("embeddings",)) if embeds else None
    capabilities = shown.capabilities or ()
    names = (("images", "vision"), ("tools", "tools"), ("reasoning", "thinking"))
    window = shown.set_tokens or shown.trained_tokens
    if bound_tokens and not shown.set_tokens:
        window = min(window or bound_tokens, bound_tokens)
    sizes = ", ".join(filter(None, (tag.details.parameter_size if tag.details else "", size_of(tag.size))))
    return Model(
        id=tag.id,
        name=f"{tag.id} ({sizes})" if sizes else "",
        context_tokens=window,
        abilities=(*(ours for ours, theirs in names if theirs in capabilities), "json"),
        lacks=("images",) if shown.capabilities is not None and "vision" not in capabilities else (),
    )


def size_of(size_bytes: int) -> str:
    """As Ollama itself writes it: 5.2 GB; '' for a model that lies elsewhere."""
    value, unit = size_bytes / 1_000, 0
    while value >= 1_000 and unit < len(_UNITS) - 1:
        value, unit = value / 1_000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if size_bytes >= 1_000_000 else ""
