"""Places in the page that plugins fill."""

from __future__ import annotations

from collections.abc import Callable

from chatserver import hookimpl
from chatserver.domain.access import Account
from chatserver.domain.extend import SlotContext
from chatserver.plugins import Plugins
from chatserver.web import slots, templating, views

ADA = Account("a1", "ada@example.org", "Ada", "member", "active", ("default",), 0)


class Badge:
    """Puts a badge below every message, and one into the head of a chat."""

    @hookimpl()
    async def render_slot(self, context: SlotContext) -> str | None:
        if context.slot == "chat.header":
            return f"<i>{context.conversation_id}</i>"
        return f"<i>{context.message_id}</i>" if context.slot == "message.footer" else None


async def test_plugin_fills_the_places_it_names_and_no_other(plugin_manager: Callable[..., Plugins]) -> None:
    plugins = plugin_manager(badge=Badge())
    slot = await slots.fill(plugins, ADA, conversation_id="c1", message_ids=("m1", "m2"))
    assert slot("chat.header") == "<i>c1</i>"
    assert slot("message.footer", "m2") == "<i>m2</i>"
    assert slot("message.actions", "m2") == slot("composer.tools") == ""
    article = templating.render_message(views.MessageView("m1", "c1", "user", "done", "You", text="Hi"), slot)
    assert "<i>m1</i>" in article and "<i>m2</i>" not in article


async def test_who_names_places_is_asked_for_no_others(plugin_manager: Callable[..., Plugins]) -> None:
    asked = []

    class Button:
        @hookimpl(slots=("message.actions",))
        async def render_slot(self, context: SlotContext) -> str | None:
            asked.append((context.slot, context.message_id))
            return "<b></b>"

    plugins = plugin_manager(button=Button(), badge=Badge())
    slot = await slots.fill(plugins, ADA, conversation_id="c1", message_ids=("m1", "m2"), writing_ids=("m3",))
    assert slot("message.actions", "m1") == slot("message.actions", "m2") == "<b></b>"
    assert slot("message.footer", "m1") == "<i>m1</i>"
    assert sorted(asked) == [("message.actions", "m1"), ("message.actions", "m2")]


async def test_nobody_is_asked_when_no_plugin_fills_places(plugin_manager: Callable[..., Plugins]) -> None:
    assert await slots.fill(plugin_manager(), ADA, message_ids=("m1",)) is slots.NOTHING


async def test_broken_filler_leaves_its_place_empty(plugin_manager: Callable[..., Plugins]) -> None:
    class Broken:
        @hookimpl()
        async def render_slot(self, context: SlotContext) -> str | None:
            raise RuntimeError("no")

    slot = await slots.fill(plugin_manager(broken=Broken(), badge=Badge()), ADA, conversation_id="c1")
    assert slot("chat.header") == "<i>c1</i>"
