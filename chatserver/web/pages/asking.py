"""Everything that makes a reply: send, edit, regenerate, continue; and stop."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromPath, FromQuery

from chatserver.chat.sending import IdempotencyKey
from chatserver.domain.conversations import Sent
from chatserver.domain.messages import FilePart, ImagePart, text_of
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.fields import read_fields
from chatserver.web.forms import fields_of
from chatserver.web.pages.comparing import models_of, show_sent
from chatserver.web.pages.files import bring_in
from chatserver.web.pages.visit import Page, PageRequest, Visit, clean_text, go, html, nothing

SEND_FIELDS = frozenset(
    {"csrf", "conversation_id", "parent_id", "text", "model", "models", "temporary", "attachments", "files"}
)


@post("/send", status_code=200)
async def send(request: PageRequest) -> Page:
    """A question: below `parent_id`, else below the stored tip's branch that was shown; to several models where the
    form names `models`."""
    visit = await Visit.of(request)
    form = await form_of(request)
    conversation_id = form.get("conversation_id") or None
    given_key = request.headers.get("idempotency-key", "")[:200]
    models, attachments = await models_of(request), await fields_of(request, "attachments")
    given = sorted({**form, "models": " ".join(models), "attachments": " ".join(attachments)}.items())
    asked = "\n".join(f"{name}={value}" for name, value in given if name != "csrf")
    # a page without its script brings the files themselves
    attachments += [file.id for file in await bring_in(request, "files")]
    sent = await visit.house.sending.send(
        visit.actor,
        conversation_id,
        form.get("parent_id") or None,
        clean_text(form.get("text", "")),
        form.get("model", ""),
        models=models,
        attachments=attachments,
        idempotency=IdempotencyKey(given_key, asked.encode()) if given_key else None,
        fields=read_fields(form, SEND_FIELDS),
        temporary=form.get("temporary") == "1",
    )
    if len(models) > 1:
        return await show_sent(visit, sent, is_new=conversation_id is None)
    where = f"/c/{sent.conversation_id}/{sent.reply_id}"
    if not visit.is_htmx:
        return go(where)
    path = await visit.house.conversations.view(visit.actor, sent.conversation_id, sent.reply_id, limit=2)
    chat = await visit.chat(path)
    new = tuple(message for message in chat.messages if message.id in (sent.question_id, sent.reply_id))
    sidebar = await visit.sidebar(sent.conversation_id) if conversation_id is None else None
    slot = await visit.slots(chat)
    return html(
        templating.render("sent.html", frame=visit.frame, chat=chat, new=new, sidebar=sidebar, slot=slot),
        {"hx-push-url": where},
    )


@get("/m/{message_id:str}/edit")
async def show_edit(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    view = views.MessageView(
        message.id, message.conversation_id, message.role, message.state, "", text=text_of(message.parts)
    )
    template = "edit.html" if visit.is_htmx else "edit_page.html"
    files = sum(isinstance(part, FilePart | ImagePart) for part in message.parts)
    return html(templating.render(template, frame=visit.frame, message=view, files=files))


@post("/m/{message_id:str}/edit", status_code=200)
async def edit(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    text = clean_text(form.get("text", ""))
    return await _after(visit, await visit.house.sending.edit(visit.actor, message_id, text, form.get("model", "")))


@post("/m/{message_id:str}/regenerate", status_code=200)
async def regenerate(request: PageRequest, message_id: FromPath[str]) -> Page:
    """Another version of a reply, by the model picked, or by the one that wrote it."""
    visit = await Visit.of(request)
    form = await form_of(request)
    return await _after(visit, await visit.house.sending.regenerate(visit.actor, message_id, form.get("model", "")))


@post("/m/{message_id:str}/continue", status_code=200)
async def continue_reply(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    return await _after(visit, await visit.house.sending.continue_reply(visit.actor, message_id))


@post("/t/{turn_id:str}/stop", status_code=200)
async def stop(request: PageRequest, turn_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    turn = await visit.house.conversations.stop(visit.actor, turn_id)
    return nothing() if visit.is_htmx else go(f"/c/{turn.conversation_id}/{turn.reply_id}")


@post("/t/{turn_id:str}/tools/{call_id:str}", status_code=200)
async def answer_tool(
    request: PageRequest, turn_id: FromPath[str], call_id: FromPath[str], answer: FromQuery[str] = ""
) -> Page:
    """What a person says to a tool that asks. `answer`: once, always or declined; the first that is said counts."""
    visit = await Visit.of(request)
    await visit.house.consents.answer(visit.actor, visit.house.readers, turn_id, call_id, answer)
    block = views.tools_in_words(request.app.state.painters.answered(turn_id, call_id))
    if visit.is_htmx:
        return html(block)
    turn = await visit.house.readers.turn(visit.actor, turn_id)
    return go(f"/c/{turn.conversation_id}/{turn.reply_id}")


async def _after(visit: Visit, sent: Sent) -> Page:
    return await visit.show_branch(sent.conversation_id, sent.reply_id)


route_handlers = (
    send,
    show_edit,
    edit,
    regenerate,
    continue_reply,
    stop,
    answer_tool,
)
