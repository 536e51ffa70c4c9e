"""A model is what a person picks; a channel is one credential and endpoint that serves some of them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import msgspec


class Model(msgspec.Struct, frozen=True, omit_defaults=True):
    """`id` is the public name. abilities: images, tools, reasoning, json, as far as its upstream tells, or embeddings
    alone; lacks: those it tells to be missing. What is in neither may or may not be there. context_tokens 0 means
    unknown."""

    id: str
    name: str = ""
    context_tokens: int = 0
    max_output_tokens: int = 0
    abilities: tuple[str, ...] = ()
    is_demo: bool = False
    lacks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return self.name or self.id

    @property
    def chats(self) -> bool:
        """Whether it answers in words: a model told to make embeddings does that alone."""
        return "embeddings" not in self.abilities

    @property
    def may_see(self) -> bool:
        """Whether it is worth showing it a picture: only an upstream that says no is believed to."""
        return "images" not in self.lacks


class ModelAlias(msgspec.Struct, frozen=True):
    """The public name a person picks and the name the upstream knows it by."""

    public: str
    upstream: str


class Channel(msgspec.Struct, frozen=True):
    """One credential + endpoint. models empty: ask the upstream. priority: higher first. source: file, found, console.

    requests_per_minute, tokens_per_minute, concurrency: what it may be asked, 0 for no limit. note: an admin's words.
    id: of its row, '' when it has none. is_on: what a person said, in the file; one of the database that is off is not
    among the channels. `api_key` never leaves the process but to `base_url`; its repr is hidden.
    """

    name: str
    provider: str
    base_url: str = ""
    api_key: str = ""
    models: tuple[ModelAlias, ...] = ()
    priority: int = 0
    weight: int = 1
    groups: tuple[str, ...] = ("default",)
    source: str = "file"
    first_token_s: float = 60.0
    gap_s: float = 60.0
    total_s: float = 900.0
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    note: str = ""
    id: str = ""
    is_on: bool = True

    @property
    def serves(self) -> bool:
        """Whether anybody is asked through it: it is on, and has a share."""
        return self.is_on and self.weight > 0

    def __repr__(self) -> str:
        return f"Channel({self.name!r}, {self.provider!r}, {self.base_url!r})"


class ChannelLine(msgspec.Struct, frozen=True):
    """A channel as an admin sees it. kept_id: its id when it was connected here and can be removed here, else ''.

    title: what people call the service. models: how many it serves. problem: the last one in a sentence, '' when well.
    """

    name: str
    title: str
    source: str
    models: int
    problem: str = ""
    kept_id: str = ""
    first_model: str = ""


class Candidate(msgspec.Struct, frozen=True):
    """A channel that could serve the wanted model, with the name the upstream expects."""

    channel: Channel
    upstream_model: str
    model: Model


def first_token_patience_s(base_url: str) -> float:
    """How long a first token may take when nobody said: a model on a private address may have to be loaded first."""
    host = urlsplit(base_url).hostname or ""
    try:
        is_private = ipaddress.ip_address(host).is_private
    except ValueError:
        is_private = host == "localhost" or host.endswith((".localhost", ".local", ".internal", ".lan"))
    return 300.0 if is_private else 60.0


def parse_alias(text: str) -> ModelAlias:
    """`public=upstream`, or one name for both."""
    public, _, upstream = text.partition("=")
    return ModelAlias(public.strip(), (upstream or public).strip())
