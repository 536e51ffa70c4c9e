"""The console's settings: each with its value, where that comes from and what it means; some are changed here."""

from __future__ import annotations

from urllib.parse import urlencode

from litestar import get, post

from chatserver.errors import ChatserverError, NotFound
from chatserver.web import views
from chatserver.web.auth import form_of
from chatserver.web.errors import spoken
from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.visit import Page, PageRequest, Visit, go
from chatserver.web.views import Problem
from chatserver.words import gettext as _

HERE = "/admin/settings"


@get(HERE, opt=CONSOLE)
async def show_settings(request: PageRequest) -> Page:
    return await _list(await Visit.of(request))


@post(HERE, opt=CONSOLE, status_code=200)
async def change_setting(request: PageRequest) -> Page:
    """`name` as the file writes it, and `value`; `do=reset` takes the default again."""
    visit = await Visit.of(request)
    form = await form_of(request)
    name, value = form.get("name", ""), form.get("value", "")
    try:
        if form.get("do") == "reset":
            await visit.house.settings.reset(visit.actor, name)
        else:
            await visit.house.settings.change(visit.actor, name, value)
    except NotFound:
        raise
    except ChatserverError as error:
        problem = Problem(_("Not saved"), spoken(error), code=error.code)
        return await _list(visit, problem, error.status, typed={name: value})
    return go(f"{HERE}?{urlencode({'changed': name})}")


async def _list(
    visit: Visit, problem: Problem | None = None, status: int = 200, typed: dict[str, str] | None = None
) -> Page:
    lines = await visit.house.settings.lines(visit.actor)
    changed = next((one for one in lines if one.name == visit.request.query_params.get("changed")), None)
    news = ""
    if changed is not None and problem is None:
        news = _("{name} is {value} now, on every node within five seconds.").format(
            name=changed.name, value=changed.value or "“”"
        )
    return await show(
        visit,
        "settings.html",
        news=news,
        problem=problem,
        status=status,
        sections=views.setting_sections(lines, typed or {}),
    )


route_handlers = (show_settings, change_setting)
