"""What the house is made of: every plugin that was found, and a switch for those that run."""

from __future__ import annotations

from collections import defaultdict

from litestar import get, post
from litestar.params import FromPath

from chatserver.errors import ChatserverError
from chatserver.web.auth import form_of
from chatserver.web.errors import problem_of
from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.visit import Page, PageRequest, Visit, go
from chatserver.web.views.notices import sentence_of

HERE = "/admin/plugins"
SAID_MOST = 3
"""Notices of one plugin, the newest first."""


@get(HERE, opt=CONSOLE)
async def show_plugins(request: PageRequest) -> Page:
    return await _list(await Visit.of(request))


@post(HERE + "/{name:str}", opt=CONSOLE)
async def switch_plugin(request: PageRequest, name: FromPath[str]) -> Page:
    """Here at once, on every other node within seconds, and after a restart."""
    visit = await Visit.of(request)
    form = await form_of(request)
    try:
        await visit.house.settings.switch(visit.actor, name, form.get("on") == "1")
    except ChatserverError as error:
        return await _list(visit, error=error)
    return go(HERE)


async def _list(visit: Visit, *, error: ChatserverError | None = None) -> Page:
    told: defaultdict[str, list[str]] = defaultdict(list)
    for notice in await visit.house.notices.standing(visit.actor):
        if len(told[notice.source]) < SAID_MOST:
            told[notice.source].append(sentence_of(notice))
    return await show(
        visit,
        "plugins.html",
        told=told,
        problem=problem_of(error) if error is not None else None,
        status=error.status if error is not None else 200,
        plugins=visit.house.plugins.report(),
    )


route_handlers = (show_plugins, switch_plugin)
