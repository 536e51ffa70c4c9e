"""One question, several models: their answers side by side, one more of them, and keeping one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from litestar import get, post
from litestar.params import FromPath

from chatserver.chat.sending import MODELS_AT_ONCE
from chatserver.domain.conversations import Comparison, PathView, Sent
from chatserver.errors import BadInput, NotFound
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.forms import fields_of
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.web.views import ChatView
from chatserver.words import gettext as _


@get("/c/{conversation_id:str}/{message_id:str}/compare")
async def show_comparison(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """The answers to a question named in `with`, else the last few."""
    visit = await Visit.of(request)
    wanted = _ids(request.query_params.get("with", ""))
    found = await visit.house.comparisons.look(visit.actor, conversation_id, message_id, wanted)
    return await visit.show_chat(await comparison_of(visit, found))


@post("/c/{conversation_id:str}/{message_id:str}/compare", status_code=200)
async def ask_beside(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """Put the question to `models` as well, or once more to the model of the reply `again`, whose place it takes."""
    visit = await Visit.of(request)
    form = await form_of(request)
    shown = _ids(form.get("with", ""))
    await visit.house.comparisons.look(visit.actor, conversation_id, message_id, shown)
    if again := form.get("again", ""):
        if again not in shown:
            raise NotFound
        sent = await visit.house.sending.regenerate(visit.actor, again)
        shown = [sent.reply_id if reply == again else reply for reply in shown]
    else:
        models = await models_of(request)
        if not models:
            raise BadInput(_("Pick a model to ask."), code="no_model_picked", status=422)
        if len(shown) + len(models) > MODELS_AT_ONCE:
            raise BadInput(_("There is no room for more answers. Keep one first."), code="models_at_once", status=422)
        sent = await visit.house.sending.ask_several(visit.actor, message_id, models)
        shown = [*shown, *(one.reply_id for one in sent.replies)]
    return await show_sent(visit, sent, shown)


@get("/m/{message_id:str}/compare")
async def show_compare_with(request: PageRequest, message_id: FromPath[str]) -> Page:
    """Which model to put the question of a reply to as well; and the way to the answers that are there."""
    visit = await Visit.of(request)
    reply = await visit.house.conversations.message(visit.actor, message_id)
    if reply.role != "assistant" or reply.continues or reply.parent_id is None:
        raise BadInput(_("Only an answer to a question can be compared."), code="not_a_reply", status=422)
    found = await visit.house.comparisons.look(visit.actor, reply.conversation_id, reply.parent_id)
    models = visit.models()
    other = next((model.id for model in models if model.id != reply.model), reply.model)
    inner = templating.render(
        "compare_with.html",
        frame=visit.frame,
        reply=reply,
        count=len(found.replies),
        href=views.comparison_href(reply.conversation_id, reply.parent_id),
        models=views.model_views(models),
        picked=other,
    )
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=_("Compare"), inner=inner))


@post("/m/{message_id:str}/keep", status_code=200)
async def keep(request: PageRequest, message_id: FromPath[str]) -> Page:
    """Go on with this answer; the others stay beside it."""
    visit = await Visit.of(request)
    conversation_id, tip_id = await visit.house.comparisons.keep(visit.actor, message_id)
    return await visit.show_branch(conversation_id, tip_id)


async def models_of(request: PageRequest) -> list[str]:
    """The models a form names, in order."""
    return [model for model in await fields_of(request, "models") if model]


async def show_sent(visit: Visit, sent: Sent, shown: Sequence[str] = (), *, is_new: bool = False) -> Page:
    """The comparison that a request began, in the place of whatever the page showed."""
    assert sent.question_id is not None
    where = views.comparison_href(sent.conversation_id, sent.question_id, shown)
    if not visit.is_htmx:
        return go(where)
    found = await visit.house.comparisons.look(visit.actor, sent.conversation_id, sent.question_id, shown)
    chat = await comparison_of(visit, found)
    page = templating.render("main.html", is_fragment=True, frame=visit.frame, chat=chat, slot=await visit.slots(chat))
    if is_new:
        page += templating.render("chats.html", sidebar=await visit.sidebar(sent.conversation_id))
    return html(page, {"hx-push-url": where, "hx-retarget": "#main", "hx-reswap": "outerHTML"})


async def comparison_of(visit: Visit, found: Comparison) -> ChatView:
    """The chat page of a comparison: the question, and the replies as far as they are written."""
    chat = await visit.chat(found.question)
    question = found.question
    columns: ChatView | None = None
    if found.replies:
        columns = await visit.chat(PathView(question.conversation, found.tip_id, found.replies, False))
    assert question.tip_id is not None
    side = views.comparison_view(
        question.conversation.id,
        question.tip_id,
        columns.messages if columns else (),
        kept=found.kept_id,
        models=visit.models(),
        at_most=MODELS_AT_ONCE,
    )
    return msgspec.structs.replace(
        chat,
        tip_id=found.tip_id,
        running_turn=columns.running_turn if columns else "",
        older_href="",
        fields=columns.fields if columns else chat.fields,
        comparison=side,
    )


def _ids(text: str) -> list[str]:
    """The ids in an address, each once. Raises NotFound for more than fit."""
    ids = list(dict.fromkeys(one for one in text.split(",") if one))
    if len(ids) > MODELS_AT_ONCE:
        raise NotFound
    return ids


route_handlers = (
    show_comparison,
    ask_beside,
    show_compare_with,
    keep,
)
