"""A channel and a model as the console shows them, and as an admin wants them to be."""

from __future__ import annotations

import msgspec


class ChannelWish(msgspec.Struct, frozen=True):
    """A channel as an admin typed it in. models: `public=upstream` or one name for both; none: ask the upstream.

    api_key: '' keeps the one there is; forgets_key: takes it away. requests_per_minute, tokens_per_minute,
    concurrency: 0 for no limit.
    """

    name: str
    provider: str
    base_url: str = ""
    api_key: str = ""
    forgets_key: bool = False
    models: tuple[str, ...] = ()
    priority: int = 0
    weight: int = 1
    groups: tuple[str, ...] = ("default",)
    requests_per_minute: int = 0
    tokens_per_minute: int = 0
    concurrency: int = 0
    is_on: bool = True
    note: str = ""


class ChannelEntry(msgspec.Struct, frozen=True):
    """A channel of the house, without its key. id: of the row it can be changed by, '' for one that cannot be changed
    here. source: file, found, console. served: the public names it serves now. problem: the last one in a sentence.

    is_hidden: it is kept here, but the file has one of the same name, which wins. has_provider: a plugin speaks for it.
    """

    wish: ChannelWish
    source: str
    id: str = ""
    has_key: bool = False
    served: tuple[str, ...] = ()
    problem: str = ""
    is_hidden: bool = False
    has_provider: bool = True


class ModelRule(msgspec.Struct, frozen=True):
    """What an admin decided about a model. groups: who may use it, none for all whom its channels serve."""

    model: str
    is_on: bool = True
    groups: tuple[str, ...] = ()

    def allows(self, groups: set[str]) -> bool:
        return self.is_on and (not self.groups or not groups.isdisjoint(self.groups))


class Service(msgspec.Struct, frozen=True):
    """One channel that serves a model: under which name its upstream knows it, in which tier, with which share."""

    channel: str
    channel_id: str
    upstream: str
    priority: int
    weight: int
    groups: tuple[str, ...]
    is_well: bool = True


class ModelEntry(msgspec.Struct, frozen=True):
    """A model, whether it may be used, and the channels that serve it. embeds: it makes embeddings and no more."""

    model: str
    title: str
    rule: ModelRule
    services: tuple[Service, ...]
    is_demo: bool = False
    context_tokens: int = 0
    embeds: bool = False
