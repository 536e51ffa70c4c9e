"""The middle of the chat page: a branch, its composer, the models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

import msgspec

from chatserver.domain.conversations import Conversation, PathView
from chatserver.domain.filing import Folder
from chatserver.domain.models import Model
from chatserver.domain.tuning import UNTUNED
from chatserver.web.views.comparing import ComparisonView
from chatserver.web.views.frame import Problem, no_model
from chatserver.web.views.messages import MessageView, Render, message_views
from chatserver.words import gettext as _
from chatserver.words import number_text


class ModelView(msgspec.Struct, frozen=True):
    id: str
    title: str
    note: str = ""
    is_demo: bool = False


class ChatView(msgspec.Struct, frozen=True):
    """The middle of the chat page: one branch, its composer, and what stands in the way of writing.

    wants_model: whoever looks could connect a real model, and there is none. fields: what plugins were handed with the
    last question, or by the address. is_tuned: the chat has settings of its own. keeps_model: the account says which
    model a new chat begins with, whatever was used last.
    """

    conversation_id: str = ""
    title: str = ""
    tip_id: str = ""
    messages: tuple[MessageView, ...] = ()
    older_href: str = ""
    model: str = ""
    models: tuple[ModelView, ...] = ()
    running_turn: str = ""
    is_cleared: bool = False
    problem: Problem | None = None
    greeting: str = ""
    suggestions: tuple[str, ...] = ()
    is_pinned: bool = False
    is_archived: bool = False
    is_temporary: bool = False
    wants_model: bool = False
    branch_name: str = ""
    origin_href: str = ""
    origin_title: str = ""
    comparison: ComparisonView | None = None
    fields: dict[str, msgspec.Raw] = {}
    is_tuned: bool = False
    keeps_model: bool = False
    folder: Folder | None = None

    @property
    def lane(self) -> int:
        """The colour of the branch that is looked at."""
        return self.messages[-1].lane if self.messages else 1

    @property
    def message_ids(self) -> tuple[str, ...]:
        """Of all articles on the page."""
        columns = self.comparison.columns if self.comparison else ()
        return (*(message.id for message in self.messages), *(column.message.id for column in columns))

    @property
    def writing_ids(self) -> tuple[str, ...]:
        """Of those that are being written."""
        columns = self.comparison.columns if self.comparison else ()
        return tuple(one.id for one in (*self.messages, *(column.message for column in columns)) if one.is_running)

    @property
    def is_empty(self) -> bool:
        return not self.messages

    @property
    def model_title(self) -> str:
        return next((model.title for model in self.models if model.id == self.model), self.model)


def chat_view(
    path: PathView,
    *,
    render: Render,
    models: Sequence[Model],
    zone: tzinfo | None = None,
    problem: Problem | None = None,
    dressed: Mapping[str, str] | None = None,
) -> ChatView:
    """The page of one branch. dressed: HTML of messages that was made already."""
    titles = {model.id: model.title for model in models}
    messages = message_views(path.items, render=render, titles=titles, zone=zone, dressed=dressed)
    conversation = path.conversation
    last = messages[-1] if messages else None
    older = ""
    if path.has_older and messages:
        older = f"/c/{conversation.id}/{path.tip_id}?before={messages[0].id}"
    return ChatView(
        conversation_id=conversation.id,
        title=title_of(conversation),
        tip_id=path.tip_id or "",
        messages=messages,
        older_href=older,
        model=pick_model(models, last.model if last and last.model else conversation.model),
        models=model_views(models),
        running_turn=next((m.turn_id for m in reversed(messages) if m.is_running), ""),
        is_cleared=bool(last and last.cleared_after),
        problem=problem or (no_model() if not models else None),
        is_pinned=conversation.pinned,
        fields=next((item.turn.parameters for item in reversed(path.items) if item.turn), {}),
        is_archived=conversation.archived,
        is_temporary=conversation.temporary,
        is_tuned=is_tuned(conversation),
    )


def new_chat_view(
    models: Sequence[Model], *, name: str, hour: int, model: str = "", problem: Problem | None = None
) -> ChatView:
    """The page before the first word. hour: of the person's day, for the greeting."""
    return ChatView(
        model=pick_model(models, model),
        keeps_model=any(one.id == model for one in models),
        models=model_views(models),
        problem=problem or (no_model() if not models else None),
        greeting=greeting(hour, name),
        suggestions=(
            _("Explain a difficult idea with an everyday picture"),
            _("Draft a short message I keep putting off"),
            _("Weigh two options in a small table"),
            _("Find the mistake in a piece of code"),
        ),
    )


def pick_model(models: Sequence[Model], wanted: str) -> str:
    """The wanted model when it is served, else the first one that is no demo, else the first."""
    if any(model.id == wanted for model in models):
        return wanted
    real = next((model.id for model in models if not model.is_demo), "")
    return real or (models[0].id if models else "")


def model_views(models: Sequence[Model]) -> tuple[ModelView, ...]:
    return tuple(ModelView(model.id, model.title, _model_note(model), model.is_demo) for model in models)


def _model_note(model: Model) -> str:
    notes = []
    if model.is_demo:
        notes.append(_("Demo, runs offline"))
    if model.context_tokens >= 1000:
        notes.append(_("{count}k context").format(count=number_text(model.context_tokens // 1000)))
    if "images" in model.abilities:
        notes.append(_("sees pictures"))
    if "reasoning" in model.abilities:
        notes.append(_("thinks"))
    return " · ".join(notes)


def greeting(hour: int, name: str) -> str:
    """A few words for the empty page, by the hour of the day."""
    if 5 <= hour < 12:
        return _("Good morning, {name}").format(name=name) if name else _("Good morning")
    if 12 <= hour < 18:
        return _("Good afternoon, {name}").format(name=name) if name else _("Good afternoon")
    if 18 <= hour < 23:
        return _("Good evening, {name}").format(name=name) if name else _("Good evening")
    return _("Still up, {name}?").format(name=name) if name else _("Still up?")


def as_temporary(chat: ChatView) -> ChatView:
    """The page before the first word of a chat that is not kept."""
    title = _("Temporary chat")
    return msgspec.structs.replace(chat, title=title, greeting=title, suggestions=(), is_temporary=True)


def is_tuned(conversation: Conversation) -> bool:
    return conversation.tuning != UNTUNED


def title_of(conversation: Conversation) -> str:
    """What the page calls it; a temporary one is told of nowhere, the browser's history included."""
    return _("Temporary chat") if conversation.temporary else conversation.title or _("New chat")
