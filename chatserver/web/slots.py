"""Named places in the page that plugins may fill: asked for before rendering, because templates cannot wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec
from markupsafe import Markup

from chatserver import words
from chatserver.domain.access import Account
from chatserver.domain.extend import SlotContext

PAGE_SLOTS = ("head", "sidebar.nav", "chat.header", "composer.tools", "panel.tab", "account.summary", "settings.page")
CONSOLE_SLOTS = ("admin.card",)
MESSAGE_SLOTS = ("message.actions", "message.footer")
WRITING_SLOTS = ("message.writing",)


class Hooks(Protocol):
    """What is needed of the plugin manager here."""

    def fills(self, slot: str) -> bool: ...
    async def fill(self, context: SlotContext) -> list[str]: ...


class Slots:
    """What plugins put where. In a template: `{{ slot("chat.header") }}`, `{{ slot("message.footer", m.id) }}`."""

    def __init__(self, filled: Mapping[tuple[str, str], str]) -> None:
        self._filled = filled

    def __call__(self, slot: str, message_id: str = "") -> Markup:
        return Markup(self._filled.get((slot, message_id), ""))


NOTHING = Slots({})


async def fill(
    plugins: Hooks,
    account: Account,
    *,
    conversation_id: str = "",
    message_ids: Iterable[str] = (),
    writing_ids: Iterable[str] = (),
    page: bool = True,
    places: Sequence[str] = PAGE_SLOTS,
    fields: dict[str, msgspec.Raw] | None = None,
) -> Slots:
    """Ask for the places of a page, of its messages, and of those that are being written; costs nothing when no plugin
    fills any."""
    of_messages = [slot for slot in MESSAGE_SLOTS if plugins.fills(slot)]
    of_writing = [slot for slot in WRITING_SLOTS if plugins.fills(slot)]
    asked = [(slot, "") for slot in places if plugins.fills(slot)] if page else []
    asked += [(slot, message_id) for message_id in message_ids for slot in of_messages]
    asked += [(slot, message_id) for message_id in writing_ids for slot in of_writing]
    if not asked:
        return NOTHING

    async def ask(slot: str, message_id: str) -> str:
        context = SlotContext(slot, account, conversation_id, message_id, words.language(), fields or {})
        return "".join(await plugins.fill(context))

    answers = await asyncio.gather(*(ask(slot, message_id) for slot, message_id in asked))
    return Slots(dict(zip(asked, answers, strict=True)))
