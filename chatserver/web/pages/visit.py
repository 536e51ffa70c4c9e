"""One request of somebody signed in, and the two shapes of an answer: a fragment for htmx, else a page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response
from litestar.datastructures import State

from chatserver import words
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.conversations import ConversationLine, PathView
from chatserver.domain.filing import Folder, ListFilter, Tag
from chatserver.domain.models import Model
from chatserver.house import House
from chatserver.web import covers, slots, templating, views
from chatserver.web.fields import read_fields
from chatserver.web.markdown import render
from chatserver.web.painter import Painters
from chatserver.web.views import ChatView, Frame, Problem, Sidebar
from chatserver.words import gettext as _

PageRequest = Request[Any, Any, State]
Page = Response[bytes]
SIDEBAR_LINES = 50
THEMES = ("system", "light", "dark")
USUAL = {
    "density": ("comfortable", "compact"),
    "text": ("normal", "small", "large", "larger"),
    "motion": ("system", "less"),
    "send_key": ("enter", "ctrl_enter"),
}
"""What an account may choose of the page, the usual first."""


class Visit:
    """One request of somebody signed in: who, with which settings, and whether htmx asks for a fragment."""

    def __init__(self, request: PageRequest, settings: dict[str, Any]) -> None:
        self.request = request
        self.house: House = request.app.state.house
        self.actor: Actor = request.scope["state"]["actor"]
        self.settings = settings
        if words.knows(spoken := str(settings.get("language", ""))):
            words.speak(spoken)
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
            density=self._unusual("density"),
            text=self._unusual("text"),
            motion=self._unusual("motion"),
            send_key=self._unusual("send_key"),
            upload_mb=self.house.limits["upload_mb"],
        )

    def _unusual(self, name: str) -> str:
        """What the account chose, '' when that is what everybody has."""
        value = str(self.settings.get(name, ""))
        return value if value in USUAL[name][1:] else ""

    def models(self) -> Sequence[Model]:
        return self.house.models(self.actor)

    async def sidebar(self, current: str = "") -> Sidebar:
        """Folders, then pinned chats, then the latest of those in no folder; older ones have a page."""
        conversations, filing = self.house.conversations, self.house.filing
        after = self.request.query_params.get("after")
        lines: list[ConversationLine] = []
        folders: list[Folder] = []
        tags: list[Tag] = []
        if not after:
            lines, _more = await conversations.list(self.actor, None, SIDEBAR_LINES, ListFilter(pinned=True))
            folders, tags = await filing.folders(self.actor), await filing.tags(self.actor)
        loose = ListFilter(pinned=False, folder_id="" if folders or after else None)
        latest, following = await conversations.list(self.actor, after, SIDEBAR_LINES, loose)
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
            folders=folders,
            tags=tags,
            notices=await self.house.notices.count_unread(self.actor),
        )

    async def chat(self, path: PathView, *, problem: Problem | None = None) -> ChatView:
        """A branch as the page shows it. Rendering many messages takes a while: it happens in a thread."""
        models = self.models()
        dressed = await covers.dress(self.house.plugins, self.actor.account, path)
        view = await asyncio.to_thread(
            views.chat_view,
            path,
            render=render,
            models=models,
            zone=self.zone,
            problem=problem or self.model_problem(models),
            dressed=dressed,
        )
        view = await self.as_far_as_written(view, path)
        if path.conversation.folder_id:
            folder = await self.folder(path.conversation.folder_id)
            view = msgspec.structs.replace(view, folder=folder)
        if path.tip_id:
            name, origin = await self.house.branches.standing(self.actor, path.conversation.id, path.tip_id)
            view = msgspec.structs.replace(
                view,
                branch_name=name,
                origin_href=f"/c/{origin.conversation_id}/{origin.message_id}/latest" if origin else "",
                origin_title=origin.title or _("New chat") if origin else "",
            )
        if not view.messages:
            new = self.new_chat()
            return msgspec.structs.replace(
                view, greeting=new.greeting, suggestions=new.suggestions, wants_model=new.wants_model
            )
        return view

    async def folder(self, folder_id: str) -> Folder | None:
        return next((one for one in await self.house.filing.folders(self.actor) if one.id == folder_id), None)

    async def as_far_as_written(self, view: ChatView, path: PathView) -> ChatView:
        """The view with what is there already of replies that are being written; the page's stream goes on from it."""
        running = {item.message.id: item.turn for item in path.items if item.turn and item.turn.state == "running"}
        if not running:
            return view
        painters: Painters = self.request.app.state.painters
        messages = []
        for message in view.messages:
            turn = running.get(message.id)
            if turn is not None:
                seen = (await painters.open(self.actor, turn)).snapshot()
                message = msgspec.structs.replace(
                    message,
                    seq=seen.seq,
                    html=seen.text_done,
                    open_html=seen.text_open,
                    reasoning_html=seen.reasoning_done,
                    reasoning_open_html=seen.reasoning_open,
                    tools_html=views.tools_in_words(seen.tools_done),
                    tools_open_html=views.tools_in_words(seen.tools_open),
                )
            messages.append(message)
        return msgspec.structs.replace(view, messages=tuple(messages))

    def new_chat(self) -> ChatView:
        models = self.models()
        account = self.actor.account
        first_name = (account.name or "").split(" ")[0]
        view = views.new_chat_view(
            models,
            name="" if "@" in first_name or first_name == account.email.split("@")[0] else first_name,
            hour=views.hour_of(now_us(), self.zone),
            model=str(self.settings.get("default_model", "")),
            problem=self.model_problem(models),
        )
        given = read_fields(self.request.query_params)
        fields = {name: value for name, value in given.items() if self.house.takes_field(name)}
        return msgspec.structs.replace(view, wants_model=self.wants_model(models), fields=fields)

    def wants_model(self, models: Sequence[Model]) -> bool:
        """Whether to offer connecting one: to an admin, while no real model answers, until it was declined."""
        if not self.actor.is_admin or any(not model.is_demo for model in models):
            return False
        return not models or self.settings.get("welcome") != "skipped"

    def model_problem(self, models: Sequence[Model]) -> Problem | None:
        """Why there is no model, as far as the person may know: the reason is for who runs the server."""
        if models:
            return None
        reason = self.house.model_problem() if self.actor.is_admin else ""
        problem = views.no_model()
        if self.actor.is_admin:
            problem = msgspec.structs.replace(problem, href="/welcome", action=_("Connect a model"))
        return msgspec.structs.replace(problem, text=f"{reason} {problem.text}".strip())

    async def view(self, conversation_id: str, tip_id: str | None = None) -> PathView:
        return await self.house.conversations.view(self.actor, conversation_id, tip_id)

    async def slots(self, chat: ChatView, *, page: bool = True) -> slots.Slots:
        return await slots.fill(
            self.house.plugins,
            self.actor.account,
            conversation_id=chat.conversation_id,
            message_ids=chat.message_ids,
            writing_ids=chat.writing_ids,
            fields=chat.fields,
            page=page,
        )

    async def show_chat(self, chat: ChatView, *, push: str = "", extra: str = "") -> Page:
        """The branch as what was asked for: the view, the middle of the page, or the page."""
        headers = {"hx-push-url": push} if push else {}
        values = {"frame": self.frame, "chat": chat, "slot": await self.slots(chat)}
        if self.target.endswith("#view"):
            is_looking = self.request.method == "GET"
            return html(templating.render("branch.html", is_looking=is_looking, **values) + extra, headers)
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


def again(request: PageRequest, **changes: str | int) -> str:
    """The address of this request with some of its query changed."""
    asked = {name: value for name, value in request.query_params.items() if name not in changes}
    return f"{request.scope['path']}?{urlencode({**asked, **changes})}"


def nothing() -> Page:
    return Response(b"", status_code=204)


def clean_text(text: str) -> str:
    """What a form sends, with the line ends a person typed."""
    return text.replace("\r\n", "\n").strip("\n").rstrip()
