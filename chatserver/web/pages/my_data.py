"""My data: take it along, bring it here, see what is shared, delete the account."""

from __future__ import annotations

from litestar import get, post

from chatserver.chat.bringing import Brought
from chatserver.domain.extend import Refusal
from chatserver.errors import ChatserverError
from chatserver.web import templating
from chatserver.web.auth import desk_of, form_of
from chatserver.web.forms import arrived_in
from chatserver.web.pages.visit import Page, PageRequest, Visit, html
from chatserver.web.views import Frame, Problem
from chatserver.web.views.attachments import size_text
from chatserver.words import gettext as _

ANYBODY = {"permission": ""}
"""Taking one's data along and leaving are nobody's to forbid."""


@get("/settings/data", opt=ANYBODY)
async def show_data(request: PageRequest) -> Page:
    return await _data_page(await Visit.of(request))


@post("/settings/data/import", status_code=200)
async def bring_chats(request: PageRequest) -> Page:
    """A file that another program, or this one, handed out. What is here already is not taken twice."""
    visit = await Visit.of(request)
    arrived = arrived_in(request, "file")
    if not arrived:
        problem = Problem(_("Nothing was taken in."), _("Choose a file first."), code="no_file")
        return await _data_page(visit, problem=problem, status=422)
    try:
        brought = await visit.house.bringing.bring(visit.actor, arrived[0].name, arrived[0].path)
    except ChatserverError as error:
        if error.status >= 500:
            raise
        problem = Problem(_("Nothing was taken in."), error.message, code=error.code)
        return await _data_page(visit, problem=problem, status=error.status)
    return await _data_page(visit, brought=brought)


@get("/settings/data/delete", opt=ANYBODY)
async def show_leave(request: PageRequest) -> Page:
    return await _leave_page(await Visit.of(request))


@post("/settings/data/delete", opt=ANYBODY, status_code=200)
async def leave(request: PageRequest) -> Page:
    """For who knows the password; tries are counted like those at the door. The browser's cookie and drafts go too."""
    visit = await Visit.of(request)
    form = await form_of(request)
    desk, account = desk_of(request), visit.actor.account
    try:
        known = await desk.try_in({"email": account.email, "password": form.get("password", "")}, request)
        if isinstance(known, Refusal) or known.id != account.id:
            return await _leave_page(visit, Problem(_("Nothing was deleted."), _("The password is not right.")))
        await visit.house.leaving.leave(visit.actor)
    except ChatserverError as error:
        if error.status >= 500:
            raise
        return await _leave_page(visit, Problem(_("Nothing was deleted."), error.message, code=error.code))
    answer = html(templating.render("left.html", frame=Frame(look=visit.frame.look)))
    answer.headers["set-cookie"] = desk.drop_cookie()
    answer.headers["clear-site-data"] = '"storage"'
    return answer


async def _data_page(
    visit: Visit, *, brought: Brought | None = None, problem: Problem | None = None, status: int = 200
) -> Page:
    space = await visit.house.files.space(visit.actor)
    page = templating.render(
        "my_data.html",
        frame=visit.frame,
        space=space,
        space_used=size_text(space.used_bytes),
        space_limit=size_text(space.limit_bytes) if space.limit_bytes else "",
        sidebar=await visit.sidebar(),
        holdings=await visit.house.leaving.holdings(visit.actor),
        formats=visit.house.bringing.formats,
        upload_mb=visit.house.limits["upload_mb"],
        brought=brought,
        problem=problem,
    )
    return html(page, status=status)


async def _leave_page(visit: Visit, problem: Problem | None = None) -> Page:
    holdings = await visit.house.leaving.holdings(visit.actor)
    return html(templating.render("leave.html", frame=visit.frame, holdings=holdings, problem=problem))


route_handlers = (
    show_data,
    bring_chats,
    show_leave,
    leave,
)
