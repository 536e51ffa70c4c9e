"""Sharing, for who shares: the dialog of a chat, all links of an account, revoking one."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, FromQuery

from chatserver.clock import now_us
from chatserver.domain.conversations import Conversation
from chatserver.errors import ChatserverError, NotFound
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.door import own_address
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.web.views import Problem
from chatserver.words import gettext as _

MAY_SHARE = {"permission": "chat.share"}
DAY_S = 86_400
LASTING_S = {"day": DAY_S, "week": 7 * DAY_S, "month": 30 * DAY_S}
"""How long a link may last, by what the form sends; anything else is until it is revoked."""


@get("/c/{conversation_id:str}/share", opt=MAY_SHARE)
async def show_share(request: PageRequest, conversation_id: FromPath[str], tip: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    return await _dialog(visit, conversation, tip=tip)


@post("/c/{conversation_id:str}/share", opt=MAY_SHARE, status_code=200)
async def share(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    """The link is shown in the answer, and never again."""
    visit = await Visit.of(request)
    form = await form_of(request)
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    tip = form.get("tip", "")
    try:
        made = await visit.house.shares.create(
            visit.actor,
            conversation_id,
            tip or None,
            "tree" if form.get("scope") == "tree" else "path",
            title=form.get("title", "")[:200],
            thoughts=form.get("thoughts") == "1",
            expires_in_s=LASTING_S.get(form.get("lasts", "")),
        )
    except NotFound:
        raise
    except ChatserverError as error:
        if error.status >= 500:
            raise
        problem = Problem(_("Nothing was shared."), error.message, code=error.code)
        return await _dialog(visit, conversation, tip=tip, problem=problem)
    return await _dialog(visit, conversation, tip=tip, url=f"{own_address(request)}/s/{made.secret}")


@get("/shares")
async def show_shares(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    shares = await visit.house.shares.list(visit.actor)
    lines = views.share_lines(shares, now_us=now_us(), zone=visit.zone)
    return html(templating.render("shares.html", frame=visit.frame, sidebar=await visit.sidebar(), shares=lines))


@post("/shares/{share_id:str}/revoke", status_code=200)
async def revoke(request: PageRequest, share_id: FromPath[str]) -> Page:
    """From a chat's dialog, which it answers, or from the page of all links."""
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.shares.revoke(visit.actor, share_id)
    if not visit.is_htmx or not form.get("conversation_id"):
        return go("/shares")
    conversation = await visit.house.conversations.get(visit.actor, form["conversation_id"])
    return await _dialog(visit, conversation, tip=form.get("tip", ""))


async def _dialog(
    visit: Visit, conversation: Conversation, *, tip: str = "", url: str = "", problem: Problem | None = None
) -> Page:
    shares = await visit.house.shares.list(visit.actor, conversation.id)
    inner = templating.render(
        "chat_share.html",
        frame=visit.frame,
        conversation=conversation,
        tip=tip or conversation.tip_id or "",
        url=url,
        problem=problem,
        shares=views.share_lines(shares, now_us=now_us(), zone=visit.zone),
    )
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=_("Share"), inner=inner))


route_handlers = (
    show_share,
    share,
    show_shares,
    revoke,
)
