"""The chat page and its neighbours: HTML routes that answer htmx with fragments and everybody else with whole pages."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.datastructures import State
from litestar.params import FromPath, FromQuery

from chatserver.chat.sending import IdempotencyKey
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import Conversation, ConversationLine, PathView, Sent
from chatserver.domain.extend import Refusal
from chatserver.domain.messages import text_of
from chatserver.domain.models import Model
from chatserver.errors import BadInput, ChatserverError, NotFound
from chatserver.house import House
from chatserver.web import assets, slots, templating, views
from chatserver.web.auth import desk_of, form_of
from chatserver.web.markdown import render
from chatserver.web.painter import Painters
from chatserver.web.views import ChatView, Frame, Problem, Sidebar
from chatserver.web.words import gettext as _

PageRequest = Request[Any, Any, State]
Page = Response[bytes]
SIDEBAR_LINES = 50
THEMES = ("system", "light", "dark")
SEND_FIELDS = frozenset({"csrf", "conversation_id", "parent_id", "text", "model"})


class Visit:
    """One request of somebody signed in: who, with which settings, and whether htmx asks for a fragment."""

    def __init__(self, request: PageRequest, settings: dict[str, Any]) -> None:
        self.request = request
        self.house: House = request.app.state.house
        self.actor: Actor = request.scope["state"]["actor"]
        self.settings = settings
        self.zone: tzinfo | None = views.zone_of(str(settings.get("timezone", "")))
        self.is_htmx = "hx-request" in request.headers and "hx-history-restore-request" not in request.headers
        self.target = request.headers.get("hx-target", "") if self.is_htmx else ""

    @classmethod
    async def of(cls, request: PageRequest) -> Visit:
        house: House = request.app.state.house
        return cls(request, await house.accounts.settings(request.scope["state"]["actor"]))

    @property
    def frame(self) -> Frame:
        theme = self.settings.get("theme", "system")
        return Frame(
            theme=theme if theme in THEMES else "system",
            look=str(self.settings.get("look", "grove")),
            side="closed" if self.settings.get("side") == "closed" else "",
            csrf=self.request.scope["state"]["csrf"],
            me=views.me_of(self.actor.account, self.actor.is_admin),
            timezone=str(self.settings.get("timezone", "")),
        )

    def models(self) -> Sequence[Model]:
        return self.house.models(self.actor)

    async def sidebar(self, current: str = "") -> Sidebar:
        """Pinned chats first, then the latest; older ones are found by search."""
        conversations = self.house.conversations
        after = self.request.query_params.get("after")
        lines: list[ConversationLine] = []
        if not after:
            lines, _more = await conversations.list(self.actor, limit=SIDEBAR_LINES, pinned=True)
        latest, following = await conversations.list(self.actor, after, SIDEBAR_LINES, pinned=False)
        lines = [*lines, *latest]
        nav = await self.house.plugins.gather("nav_items", actor=self.actor)
        return views.sidebar(
            lines,
            current=current,
            now_us=now_us(),
            zone=self.zone,
            after=following or "",
            below=self.request.query_params.get("below", ""),
            nav=nav,
        )

    async def chat(self, path: PathView, *, problem: Problem | None = None) -> ChatView:
        """A branch as the page shows it. Rendering many messages takes a while: it happens in a thread."""
        models = self.models()
        view = await asyncio.to_thread(
            views.chat_view,
            path,
            render=render,
            models=models,
            zone=self.zone,
            problem=problem or self.model_problem(models),
        )
        view = self.as_far_as_written(view, path)
        if not view.messages:
            return msgspec.structs.replace(
                view, greeting=self.new_chat().greeting, suggestions=self.new_chat().suggestions
            )
        return view

    def as_far_as_written(self, view: ChatView, path: PathView) -> ChatView:
        """The view with what is there already of replies that are being written; the page's stream goes on from it."""
        running = {item.message.id: item.turn for item in path.items if item.turn and item.turn.state == "running"}
        if not running:
            return view
        painters: Painters = self.request.app.state.painters
        messages = []
        for message in view.messages:
            turn = running.get(message.id)
            if turn is not None:
                seen = painters.open(self.actor, turn).snapshot()
                message = msgspec.structs.replace(
                    message,
                    seq=seen.seq,
                    html=seen.text_done,
                    open_html=seen.text_open,
                    reasoning_html=seen.reasoning_done,
                    reasoning_open_html=seen.reasoning_open,
                )
            messages.append(message)
        return msgspec.structs.replace(view, messages=tuple(messages))

    def new_chat(self) -> ChatView:
        models = self.models()
        account = self.actor.account
        first_name = (account.name or "").split(" ")[0]
        return views.new_chat_view(
            models,
            name="" if "@" in first_name or first_name == account.email.split("@")[0] else first_name,
            hour=views.hour_of(now_us(), self.zone),
            problem=self.model_problem(models),
        )

    def model_problem(self, models: Sequence[Model]) -> Problem | None:
        """Why there is no model, as far as the person may know: the reason is for who runs the server."""
        if models:
            return None
        reason = self.house.model_problem() if self.actor.is_admin else ""
        problem = views.no_model()
        return msgspec.structs.replace(problem, text=f"{reason} {problem.text}".strip())

    async def view(self, conversation_id: str, tip_id: str | None = None) -> PathView:
        return await self.house.conversations.view(self.actor, conversation_id, tip_id)

    async def slots(self, chat: ChatView, *, page: bool = True) -> slots.Slots:
        return await slots.fill(
            self.house.plugins,
            self.actor.account,
            conversation_id=chat.conversation_id,
            message_ids=[message.id for message in chat.messages],
            page=page,
        )

    async def show_chat(self, chat: ChatView, *, push: str = "", extra: str = "") -> Page:
        """The branch as what was asked for: the view, the middle of the page, or the page."""
        headers = {"hx-push-url": push} if push else {}
        values = {"frame": self.frame, "chat": chat, "slot": await self.slots(chat)}
        if self.target.endswith("#view"):
            return html(templating.render("branch.html", **values) + extra, headers)
        if self.target.endswith("#main"):
            return html(templating.render("main.html", is_fragment=True, **values) + extra, headers)
        return html(templating.render("chat.html", sidebar=await self.sidebar(chat.conversation_id), **values))

    async def show_branch(self, conversation_id: str, tip_id: str | None, *, extra: str = "") -> Page:
        """Where a change led: a fragment with its address for htmx, a redirect for everybody else."""
        where = f"/c/{conversation_id}/{tip_id}" if tip_id else f"/c/{conversation_id}"
        if not self.is_htmx:
            return go(where)
        chat = await self.chat(await self.view(conversation_id, tip_id))
        return await self.show_chat(chat, push=where, extra=extra)


def html(text: str, headers: dict[str, str] | None = None, status: int = 200) -> Page:
    return Response(
        text.encode(),
        status_code=status,
        media_type="text/html; charset=utf-8",
        headers={**(headers or {}), "vary": "hx-request, hx-target"},
    )


def go(where: str) -> Page:
    return Response(b"", status_code=303, headers={"location": where}, media_type="text/html")


def nothing() -> Page:
    return Response(b"", status_code=204)


# --- looking --------------------------------------------------------------------------------------------------------


@get("/")
async def show_new_chat(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    return await visit.show_chat(visit.new_chat())


@get("/c/{conversation_id:str}")
async def show_conversation(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    return await visit.show_chat(await visit.chat(await visit.view(conversation_id)))


@get("/c/{conversation_id:str}/{message_id:str}")
async def show_branch(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """The branch that ends at a message; with `before`, what stands above one of its messages."""
    visit = await Visit.of(request)
    before = request.query_params.get("before")
    if before is None:
        return await visit.show_chat(await visit.chat(await visit.view(conversation_id, message_id)))
    path = await visit.house.conversations.view(visit.actor, conversation_id, message_id, before=before)
    chat = await visit.chat(path)
    messages = tuple(msgspec.structs.replace(message, is_last=False) for message in chat.messages)
    chat = msgspec.structs.replace(chat, messages=messages)
    if visit.is_htmx:
        slot = await visit.slots(chat, page=False)
        return html(templating.render("older.html", frame=visit.frame, chat=chat, slot=slot))
    return await visit.show_chat(chat)


@get("/c/{conversation_id:str}/{message_id:str}/latest")
async def show_latest(request: PageRequest, conversation_id: FromPath[str], message_id: FromPath[str]) -> Page:
    """From a version to the branch last looked at below it."""
    visit = await Visit.of(request)
    leaf = await visit.house.conversations.leaf_below(visit.actor, conversation_id, message_id)
    return go(f"/c/{conversation_id}/{leaf}")


@get("/chats")
async def show_chats(request: PageRequest, current: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    sidebar = await visit.sidebar(current)
    if visit.is_htmx:
        return html(templating.render("lines.html", sidebar=sidebar))
    return html(templating.render("chat.html", frame=visit.frame, chat=visit.new_chat(), sidebar=sidebar))


@get("/search")
async def search(request: PageRequest, q: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    query = q.strip()[:200]
    if visit.is_htmx and not query:
        return html(templating.render("lines.html", sidebar=await visit.sidebar()))
    found = await visit.house.conversations.search(visit.actor, query) if query else []
    hits = views.hit_views(found, now_us=now_us(), zone=visit.zone)
    if visit.is_htmx:
        return html(templating.render("hits.html", hits=hits, query=query))
    sidebar = await visit.sidebar()
    return html(templating.render("search.html", frame=visit.frame, sidebar=sidebar, hits=hits, query=query))


# --- asking ---------------------------------------------------------------------------------------------------------


@post("/send", status_code=200)
async def send(request: PageRequest) -> Page:
    """A question: below `parent_id`, else below the stored tip's branch that was shown."""
    visit = await Visit.of(request)
    form = await form_of(request)
    conversation_id = form.get("conversation_id") or None
    given_key = request.headers.get("idempotency-key", "")[:200]
    asked = "\n".join(form.get(name, "") for name in ("conversation_id", "parent_id", "model", "text"))
    sent = await visit.house.sending.send(
        visit.actor,
        conversation_id,
        form.get("parent_id") or None,
        clean_text(form.get("text", "")),
        form.get("model", ""),
        idempotency=IdempotencyKey(given_key, asked.encode()) if given_key else None,
        fields={
            name: msgspec.Raw(msgspec.json.encode(value)) for name, value in form.items() if name not in SEND_FIELDS
        },
    )
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
    return html(templating.render(template, frame=visit.frame, message=view))


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


async def _after(visit: Visit, sent: Sent) -> Page:
    return await visit.show_branch(sent.conversation_id, sent.reply_id)


def clean_text(text: str) -> str:
    """What a form sends, with the line ends a person typed."""
    return text.replace("\r\n", "\n").strip("\n").rstrip()


# --- taking away and back -------------------------------------------------------------------------------------------


@get("/m/{message_id:str}/text")
async def show_text(request: PageRequest, message_id: FromPath[str]) -> Response[bytes]:
    """What was written, as it was written, for the clipboard."""
    visit = await Visit.of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    return Response(text_of(message.parts).encode(), media_type="text/plain; charset=utf-8")


@get("/m/{message_id:str}/delete")
async def show_delete(request: PageRequest, message_id: FromPath[str]) -> Page:
    """How much a delete would hide, before it does."""
    visit = await Visit.of(request)
    message = await visit.house.conversations.message(visit.actor, message_id)
    count = await visit.house.conversations.count_below(visit.actor, message_id)
    template = "delete.html" if visit.is_htmx else "delete_page.html"
    back = f"/c/{message.conversation_id}"
    return html(templating.render(template, frame=visit.frame, message_id=message_id, count=count, back=back))


@post("/m/{message_id:str}/delete", status_code=200)
async def delete(request: PageRequest, message_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.delete_message(visit.actor, message_id)
    undo = templating.render("undo.html", deletion=deletion) if visit.is_htmx else ""
    return await visit.show_branch(deletion.conversation_id, deletion.tip_id, extra=undo)


@post("/deletions/{deletion_id:str}/restore", status_code=200)
async def restore(request: PageRequest, deletion_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.restore(visit.actor, deletion_id)
    gone = templating.render("no_toast.html") if visit.is_htmx else ""
    return await visit.show_branch(deletion.conversation_id, deletion.tip_id, extra=gone)


@post("/c/{conversation_id:str}/clear-context", status_code=200)
async def clear_context(request: PageRequest, conversation_id: FromPath[str], message_id: FromQuery[str] = "") -> Page:
    visit = await Visit.of(request)
    await visit.house.conversations.clear_context(visit.actor, conversation_id, message_id)
    return await visit.show_branch(conversation_id, message_id)


@post("/c/{conversation_id:str}/restore-context", status_code=200)
async def restore_context(
    request: PageRequest, conversation_id: FromPath[str], message_id: FromQuery[str] = ""
) -> Page:
    """Take a marker back; the view stays where the reader is."""
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.conversations.restore_context(visit.actor, conversation_id, message_id)
    return await visit.show_branch(conversation_id, form.get("parent_id") or None)


# --- the conversation as a whole ------------------------------------------------------------------------------------


@get("/c/{conversation_id:str}/about/{what:str}")
async def show_about(request: PageRequest, conversation_id: FromPath[str], what: FromPath[str]) -> Page:
    """The small forms of a conversation: `rename` and `delete`."""
    visit = await Visit.of(request)
    if what not in ("rename", "delete"):
        raise NotFound
    conversation = await visit.house.conversations.get(visit.actor, conversation_id)
    inner = templating.render(f"chat_{what}.html", frame=visit.frame, conversation=conversation)
    if visit.is_htmx:
        return html(inner)
    return html(templating.render("form_page.html", frame=visit.frame, title=conversation.title, inner=inner))


@post("/c/{conversation_id:str}/rename", status_code=200)
async def rename(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    found = await visit.house.conversations.update(visit.actor, conversation_id, title=form.get("title", ""))
    return await _about_changed(visit, found)


@post("/c/{conversation_id:str}/pin", status_code=200)
async def pin(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    is_pinned = form.get("pinned", "1") == "1"
    found = await visit.house.conversations.update(visit.actor, conversation_id, pinned=is_pinned)
    return await _about_changed(visit, found)


async def _about_changed(visit: Visit, conversation: Conversation) -> Page:
    if not visit.is_htmx:
        return go(f"/c/{conversation.id}")
    chat = ChatView(conversation.id, views.title_of(conversation), is_pinned=conversation.pinned)
    sidebar = await visit.sidebar(conversation.id)
    return html(templating.render("about_changed.html", frame=visit.frame, chat=chat, sidebar=sidebar))


@post("/c/{conversation_id:str}/delete", status_code=200)
async def delete_conversation(request: PageRequest, conversation_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.delete(visit.actor, conversation_id)
    if not visit.is_htmx:
        return go("/")
    undo = templating.render("undo.html", deletion=deletion, is_chat=True)
    lines = templating.render("chats.html", sidebar=await visit.sidebar())
    return await visit.show_chat(visit.new_chat(), push="/", extra=undo + lines)


@post("/deletions/{deletion_id:str}/restore-chat", status_code=200)
async def restore_conversation(request: PageRequest, deletion_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    deletion = await visit.house.conversations.restore(visit.actor, deletion_id)
    if not visit.is_htmx:
        return go(f"/c/{deletion.conversation_id}")
    lines = templating.render("chats.html", sidebar=await visit.sidebar(deletion.conversation_id))
    extra = lines + templating.render("no_toast.html")
    return await visit.show_branch(deletion.conversation_id, deletion.tip_id, extra=extra)


# --- one's own settings ---------------------------------------------------------------------------------------------


@get("/settings")
async def show_settings(request: PageRequest) -> Page:
    return await _settings_page(await Visit.of(request))


@post("/settings/look", status_code=200)
async def set_look(request: PageRequest) -> Page:
    """Theme, time zone, side: each only when it is given and makes sense."""
    visit = await Visit.of(request)
    form = await form_of(request)
    changes: dict[str, Any] = {}
    if form.get("theme") in THEMES:
        changes["theme"] = form["theme"]
    if form.get("side") in ("open", "closed"):
        changes["side"] = form["side"]
    if form.get("look") in {theme.name for theme in assets.themes()}:
        changes["look"] = form["look"]
    if views.zone_of(form.get("timezone", "")[:64]) is not None:
        changes["timezone"] = form["timezone"]
    if changes:
        await visit.house.accounts.set_settings(visit.actor, changes)
    return nothing() if visit.is_htmx else go("/settings")


@post("/settings/name", status_code=200)
async def set_name(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.accounts.rename(visit.actor, form.get("name", "").strip()[:100])
    return go("/settings")


@post("/settings/password", status_code=200)
async def set_password(request: PageRequest) -> Page:
    """A new password, for who knows the old one; tries are counted like those at the door."""
    visit = await Visit.of(request)
    form = await form_of(request)
    account = visit.actor.account
    known = await desk_of(request).try_in({"email": account.email, "password": form.get("current", "")}, request)
    if isinstance(known, Refusal) or known.id != account.id:
        return await _settings_page(
            visit, problem=Problem(_("The password was not changed."), _("The old one is not right."))
        )
    try:
        await visit.house.accounts.set_secret(account.id, form.get("new", ""), keep=visit.actor)
    except ChatserverError as error:
        return await _settings_page(visit, problem=Problem(_("The password was not changed."), error.message))
    return await _settings_page(visit, news=_("The password was changed, and every other device signed out."))


@post("/settings/sessions/end", status_code=200)
async def end_session(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    if not form.get("session_id"):
        raise BadInput(_("Name the session to end."))
    await visit.house.accounts.end_session(visit.actor, form["session_id"])
    return go("/settings")


@post("/settings/keys", opt={"permission": "keys.manage"}, status_code=200)
async def make_key(request: PageRequest) -> Page:
    """The page is the answer itself: the key is shown here and never again."""
    visit = await Visit.of(request)
    form = await form_of(request)
    made = await visit.house.accounts.create_key(visit.actor.account, form.get("name", "")[:60])
    return await _settings_page(visit, new_key=made.secret)


@post("/settings/keys/revoke", opt={"permission": "keys.manage"}, status_code=200)
async def revoke_key(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.accounts.revoke_key(visit.actor, form.get("key_id", ""))
    return go("/settings")


async def _settings_page(visit: Visit, *, new_key: str = "", problem: Problem | None = None, news: str = "") -> Page:
    accounts = visit.house.accounts
    now = now_us()
    slot = await slots.fill(visit.house.plugins, visit.actor.account)
    return html(
        templating.render(
            "settings.html",
            slot=slot,
            frame=visit.frame,
            sidebar=await visit.sidebar(),
            problem=problem,
            news=news,
            new_key=new_key,
            sessions=views.session_views(
                await accounts.sessions(visit.actor), current=visit.actor.session_id, now_us=now, zone=visit.zone
            ),
            keys=views.key_views(await accounts.keys(visit.actor), now_us=now, zone=visit.zone),
        )
    )


route_handlers = (
    show_new_chat,
    show_conversation,
    show_branch,
    show_latest,
    show_chats,
    search,
    send,
    show_edit,
    edit,
    regenerate,
    continue_reply,
    stop,
    show_text,
    show_delete,
    delete,
    restore,
    clear_context,
    restore_context,
    show_about,
    rename,
    pin,
    delete_conversation,
    restore_conversation,
    show_settings,
    set_look,
    set_name,
    set_password,
    end_session,
    make_key,
    revoke_key,
)
