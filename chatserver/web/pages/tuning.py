"""Chat settings: the system prompt and the parameters of one chat, also of one that is made by setting them."""

from __future__ import annotations

from collections.abc import Mapping

from litestar import get, post
from litestar.params import FromPath, FromQuery
from msgspec import UNSET

from chatserver.chat.tunings import TuningChange
from chatserver.domain.conversations import Conversation
from chatserver.errors import BadInput, ChatserverError, NotFound
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.web.views import ChatView, Problem
from chatserver.words import gettext as _


@get("/tuning")
async def show_first_tuning(request: PageRequest, model: FromQuery[str] = "") -> Page:
    """Of a chat that is not there yet."""
    visit = await Visit.of(request)
    return _dialog(visit, None, model, is_temporary=request.query_params.get("temporary") == "1")


@post("/tuning", status_code=200)
async def set_first_tuning(request: PageRequest) -> Page:
    """Makes the chat. What was typed for it, and the model picked, stay on the page."""
    visit = await Visit.of(request)
    form = await form_of(request)
    is_temporary = form.get("temporary") == "1"
    try:
        picked = next((model.id for model in visit.models() if model.id == form.get("for")), "")
        made = await visit.house.conversations.create(
            visit.actor, temporary=is_temporary, tuning=read_change(form), model=picked
        )
    except ChatserverError as error:
        return _again(visit, None, form, error)
    where = f"/c/{made.id}"
    if not visit.is_htmx:
        return go(where)
    chat = ChatView(
        made.id,
        views.title_of(made),
        is_temporary=made.temporary,
        is_tuned=views.is_tuned(made),
    )
    values = {"frame": visit.frame, "chat": chat, "slot": await visit.slots(chat), "is_made": True}
    return html(
        templating.render("tuned_new.html", sidebar=await visit.sidebar(made.id), **values), {"hx-push-url": where}
    )


@get("/c/{conversation_id:str}/tuning")
async def show_tuning(request: PageRequest, conversation_id: FromPath[str], model: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    return _dialog(visit, conversation, model or conversation.model)


@post("/c/{conversation_id:str}/tuning", status_code=200)
async def set_tuning(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    try:
        found = await visit.house.conversations.update(visit.actor, conversation_id, tuning=read_change(form))
    except NotFound:
        raise
    except ChatserverError as error:
        return _again(visit, conversation, form, error)
    if not visit.is_htmx:
        return go(f"/c/{conversation_id}")
    chat = ChatView(found.id, is_temporary=found.temporary, is_tuned=views.is_tuned(found))
    return html(templating.render("tuned.html", frame=visit.frame, chat=chat))


def read_change(form: Mapping[str, str]) -> TuningChange:
    """What a form says: an empty field leaves a parameter to the model, one that is not there changes nothing.

    Raises BadInput for what is no number."""
    prompt = form.get("system_prompt")
    temperature = form.get("temperature")
    max_output = form.get("max_output")
    effort = form.get("reasoning_effort")
    return TuningChange(
        UNSET if prompt is None else prompt.replace("\r\n", "\n"),
        UNSET if temperature is None else _read_temperature(temperature.strip()),
        UNSET if max_output is None else _read_tokens("".join(max_output.split())),
        UNSET if effort is None else effort or None,
    )


def _read_temperature(text: str) -> float | None:
    if not text:
        return None
    try:
        return float(text.replace(",", "."))
    except ValueError:
        raise BadInput(_("A temperature is a number, such as 0.7."), code="bad_temperature", status=422) from None


def _read_tokens(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 12:
        raise BadInput(
            _("The longest answer is a whole number of tokens, such as 2000."), code="bad_max_output", status=422
        )
    return int(text)


def _again(visit: Visit, conversation: Conversation | None, form: Mapping[str, str], error: ChatserverError) -> Page:
    """The form as it was sent, with what is wrong; nothing was kept."""
    if error.status >= 500:
        raise error
    problem = Problem(_("Nothing was changed."), error.message, code=error.code)
    return _dialog(
        visit,
        conversation,
        form.get("for", ""),
        is_temporary=form.get("temporary") == "1",
        given=form,
        problem=problem,
    )


def _dialog(
    visit: Visit,
    conversation: Conversation | None,
    model: str,
    *,
    is_temporary: bool = False,
    given: Mapping[str, str] | None = None,
    problem: Problem | None = None,
) -> Page:
    where = f"/c/{conversation.id}" if conversation else ""
    inner = templating.render(
        "tuning.html",
        frame=visit.frame,
        action=f"{where}/tuning",
        tuning=views.tuning_view(conversation, visit.models(), model, is_temporary=is_temporary, given=given),
        back=where or ("/?temporary=1" if is_temporary else "/"),
        problem=problem,
    )
    if visit.is_htmx:
        # the form aims beside the dialog; what went wrong belongs into it
        return html(inner, {"hx-retarget": "#dialog", "hx-reswap": "innerHTML"} if problem else {})
    status = 422 if problem else 200
    page = templating.render("form_page.html", frame=visit.frame, title=_("Chat settings"), inner=inner)
    return html(page, status=status)


route_handlers = (
    show_first_tuning,
    set_first_tuning,
    show_tuning,
    set_tuning,
)
