"""What the admins should know: a list, and a button to put each away."""

from __future__ import annotations

from litestar import get, post

from chatserver.clock import now_us
from chatserver.errors import NotFound
from chatserver.web.auth import form_of
from chatserver.web.pages.console.desk import CONSOLE, LIGHT, show
from chatserver.web.pages.visit import Page, PageRequest, Visit, go
from chatserver.web.views.notices import NoticeView, notice_views


@get("/admin/notices", opt=CONSOLE)
async def show_notices(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    return await show(visit, "notices.html", notices=await unread(visit))


@post("/admin/notices/put-away", opt=LIGHT)
async def put_away(request: PageRequest) -> Page:
    """One that is gone meanwhile is as good as put away."""
    visit = await Visit.of(request)
    form = await form_of(request)
    try:
        await visit.house.notices.put_away(visit.actor, form.get("source", ""), form.get("key", ""))
    except NotFound:
        return go("/admin/notices")
    return go("/admin/notices")


async def unread(visit: Visit) -> tuple[NoticeView, ...]:
    """For this page and the overview of the console."""
    notices = await visit.house.notices.unread(visit.actor)
    return notice_views(notices, now_us=now_us(), zone=visit.zone)


route_handlers = (
    show_notices,
    put_away,
)
