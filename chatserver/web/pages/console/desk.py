"""The frame of every page of the console, for the core's pages and for those of plugins."""

from __future__ import annotations

from typing import Any

from chatserver.web import slots, templating, views
from chatserver.web.pages.visit import Page, Visit, html
from chatserver.web.views import Console, Problem

CONSOLE = {"permission": "admin.console"}
"""The options of every route of the console."""
LIGHT = {**CONSOLE, "is_light": True}
"""Those of what changes nothing of consequence: nobody is asked to sign in again for it."""


async def console_of(visit: Visit) -> Console:
    """The navigation as this admin sees it."""
    more = await visit.house.plugins.gather("admin_pages", actor=visit.actor)
    notices = await visit.house.notices.count_unread(visit.actor)
    return views.console_of(str(visit.request.scope["state"]["path"]), notices, more)


async def show(
    visit: Visit,
    template: str,
    *,
    news: str = "",
    problem: Problem | None = None,
    status: int = 200,
    places: tuple[str, ...] = ("head",),
    **values: Any,
) -> Page:
    """A whole page. news: a good word above it; problem: what went wrong; places: the slots it has."""
    page = templating.render(
        f"admin/{template}",
        frame=visit.frame,
        console=await console_of(visit),
        slot=await slots.fill(visit.house.plugins, visit.actor.account, places=places),
        news=news,
        problem=problem,
        **values,
    )
    return html(page, status=status)
