"""Good or bad: kept with one press; why, in a dialog that may be closed."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath

from chatserver.domain.feedback import TAGS, Feedback
from chatserver.domain.messages import Message
from chatserver.errors import ChatserverError, NotFound
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.web.views import Problem
from chatserver.words import gettext as _


@get("/m/{message_id:str}/feedback")
async def show_feedback(request: PageRequest, message_id: FromPath[str]) -> Page:
    """Why, of what was said; who has said nothing is led to where one says it."""
    visit = await Visit.of(request)
    message, said = await visit.house.feedback.read(visit.actor, message_id)
    return _dialog(visit, message, said) if said else go(f"/m/{message_id}/more")


@post("/m/{message_id:str}/feedback", status_code=200)
async def give(request: PageRequest, message_id: FromPath[str]) -> Page:
    """A verdict; what was said of the same one before stays."""
    visit = await Visit.of(request)
    form = await form_of(request)
    said = await visit.house.feedback.give(visit.actor, message_id, form.get("value", ""))
    if not visit.is_htmx:
        return go(f"/m/{message_id}/feedback")
    message = await visit.house.conversations.message(visit.actor, message_id)
    return _dialog(visit, message, said)


@post("/m/{message_id:str}/feedback/why", status_code=200)
async def explain(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    tags = [name.removeprefix("tag.") for name in form if name.startswith("tag.")]
    value, reason = form.get("value", ""), form.get("reason", "")
    try:
        said = await visit.house.feedback.give(visit.actor, message_id, value, tags=tags, reason=reason)
    except NotFound:
        raise
    except ChatserverError as error:
        if error.status >= 500 or value not in TAGS:
            raise
        problem = Problem(_("This was not kept."), error.message, code=error.code)
        written = Feedback("good" if value == "good" else "bad", tuple(tags), reason)
        return _dialog(visit, message, written, problem=problem)
    return _done(visit, message, said)


@post("/m/{message_id:str}/feedback/take-back", status_code=200)
async def take_back(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    await visit.house.feedback.take_back(visit.actor, message_id)
    message = await visit.house.conversations.message(visit.actor, message_id)
    return _done(visit, message, None)


def _done(visit: Visit, message: Message, said: Feedback | None) -> Page:
    if not visit.is_htmx:
        return go(f"/c/{message.conversation_id}/{message.id}/latest")
    view = views.MessageView(
        message.id, message.conversation_id, message.role, message.state, "", verdict=said.value if said else ""
    )
    return html(templating.render("verdict.html", frame=visit.frame, m=view))


def _dialog(visit: Visit, message: Message, said: Feedback, *, problem: Problem | None = None) -> Page:
    inner = templating.render(
        "feedback.html",
        frame=visit.frame,
        message=message,
        said=said,
        tags=[(tag, views.tag_text(tag)) for tag in TAGS[said.value]],
        problem=problem,
    )
    if visit.is_htmx:
        # the form aims beside the dialog; what went wrong belongs into it
        return html(inner, {"hx-retarget": "#dialog", "hx-reswap": "innerHTML"} if problem else {})
    page = templating.render("form_page.html", frame=visit.frame, title=_("Feedback"), inner=inner)
    return html(page, status=422 if problem else 200)


route_handlers = (
    show_feedback,
    give,
    explain,
    take_back,
)
