"""Channels and models as the console lists them, and the form of a channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from chatserver.domain.channels import ChannelEntry, ChannelWish, ModelEntry, Service
from chatserver.words import gettext as _
from chatserver.words import ngettext, number_text

State = Literal["well", "off", "bad", "locked"]
MODELS_SHOWN = 6


class ChannelRowView(msgspec.Struct, frozen=True):
    """A channel in the list. href: where it is changed, '' for one that is locked. models: the first few it serves;
    more: how many others. limits: each a few words."""

    name: str
    id: str
    href: str
    is_on: bool
    is_locked: bool
    where: str
    state: State
    state_text: str
    about: str
    models: tuple[str, ...]
    more: int
    rank: str
    limits: tuple[str, ...]
    groups: tuple[str, ...]
    note: str
    problem: str
    can_test: bool


class ChannelFormView(msgspec.Struct, frozen=True):
    """What the form of a channel shows: what is kept, or what was typed just now. id: '' for a new one."""

    id: str
    wish: ChannelWish
    has_key: bool
    providers: tuple[str, ...]
    served: tuple[str, ...] = ()
    numbers: dict[str, str] = {}

    @property
    def models_text(self) -> str:
        return "\n".join(self.wish.models)

    @property
    def groups_text(self) -> str:
        return ", ".join(self.wish.groups)


class ModelRowView(msgspec.Struct, frozen=True):
    """A model in the list. about: its channels in a few words."""

    model: str
    title: str
    is_on: bool
    groups_text: str
    services: tuple[Service, ...]
    about: str
    is_demo: bool


def channel_rows(entries: Iterable[ChannelEntry]) -> tuple[ChannelRowView, ...]:
    return tuple(_row(entry) for entry in entries)


def _row(entry: ChannelEntry) -> ChannelRowView:
    wish = entry.wish
    state, text = _state(entry)
    where = {"file": _("in chatserver.toml"), "found": _("found on this machine")}.get(entry.source, "")
    return ChannelRowView(
        name=wish.name,
        id=entry.id,
        href=f"/admin/channels/{entry.id}" if entry.id else "",
        is_on=wish.is_on,
        is_locked=not entry.id,
        where=where,
        state=state,
        state_text=text,
        about=" · ".join(filter(None, (wish.provider, host_of(wish.base_url)))),
        models=entry.served[:MODELS_SHOWN],
        more=max(0, len(entry.served) - MODELS_SHOWN),
        rank=_("priority {priority}, weight {weight}").format(
            priority=number_text(wish.priority), weight=number_text(wish.weight)
        ),
        limits=limits_of(wish),
        groups=wish.groups,
        note=wish.note,
        problem=_(entry.problem) if entry.has_provider else _("The plugin of its provider is not installed."),
        can_test=not entry.is_hidden,
    )


def host_of(address: str) -> str:
    """Without user and password, which an address in the file may have."""
    return urlsplit(address).netloc.rpartition("@")[2]


def _state(entry: ChannelEntry) -> tuple[State, str]:
    if entry.is_hidden:
        return "off", _("the file has one of this name, which wins")
    if not entry.has_provider:
        return "bad", _("nobody speaks its format")
    if not entry.wish.is_on:
        return "off", _("off")
    if entry.problem and not entry.served:
        return "bad", _("does not answer")
    if entry.wish.weight == 0:
        return "off", _("no share: weight 0")
    if not entry.served:
        return "bad", _("names no model")
    return "well", _("on")


def limits_of(wish: ChannelWish) -> tuple[str, ...]:
    found = []
    if wish.requests_per_minute:
        found.append(_("{count} requests a minute").format(count=number_text(wish.requests_per_minute)))
    if wish.tokens_per_minute:
        found.append(_("{count} tokens a minute").format(count=number_text(wish.tokens_per_minute)))
    if wish.concurrency:
        found.append(_("{count} at once").format(count=number_text(wish.concurrency)))
    return tuple(found)


def model_rows(entries: Iterable[ModelEntry]) -> tuple[ModelRowView, ...]:
    return tuple(
        ModelRowView(
            model=entry.model,
            title=entry.title,
            is_on=entry.rule.is_on,
            groups_text=", ".join(entry.rule.groups),
            services=entry.services,
            about=_about(entry),
            is_demo=entry.is_demo,
        )
        for entry in entries
    )


def _about(entry: ModelEntry) -> str:
    count = len(entry.services)
    if not count:
        return _("No channel serves it now.")
    told = [ngettext("{count} channel", "{count} channels", count).format(count=number_text(count))]
    if entry.context_tokens:
        told.append(_("{count} tokens of context").format(count=number_text(entry.context_tokens)))
    if entry.embeds:
        told.append(_("for embeddings"))
    if entry.is_demo:
        told.append(_("a demo"))
    return " · ".join(told)
