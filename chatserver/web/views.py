"""What the templates are handed: frozen values, worked out from the domain's, with nothing left to decide in HTML."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from markupsafe import Markup

from chatserver.domain.access import Account, ApiKey, Session
from chatserver.domain.conversations import Conversation, ConversationLine, Hit, PathItem, PathView
from chatserver.domain.extend import NavItem
from chatserver.domain.messages import Message, ReasoningPart, ToolCallPart, reasoning_of, text_of
from chatserver.domain.models import Model
from chatserver.domain.turns import Turn
from chatserver.web.words import gettext as _
from chatserver.web.words import ngettext

LANES = 5
"""Colours of the rail; a branch takes the one of its place among its siblings."""
Render = Callable[[str], str]


class Versions(msgspec.Struct, frozen=True):
    """Where a message stands among its siblings, counted from one; an empty href means there is none that way."""

    index: int
    total: int
    previous_href: str = ""
    next_href: str = ""


class Problem(msgspec.Struct, frozen=True):
    """Something that went wrong, and what to do next. href and action: a link that helps, when there is one."""

    title: str
    text: str
    code: str = ""
    href: str = ""
    action: str = ""


class MessageView(msgspec.Struct, frozen=True):
    """One article. html and its like are safe, `open` being the block still written; `text` is what was written.
    Durations in ms, None unknown."""

    id: str
    conversation_id: str
    role: str
    state: str
    author: str
    text: str = ""
    html: str = ""
    open_html: str = ""
    reasoning_html: str = ""
    reasoning_open_html: str = ""
    model: str = ""
    time: str = ""
    time_iso: str = ""
    versions: Versions | None = None
    turn_id: str = ""
    seq: int = 0
    tokens: int = 0
    is_estimated: bool = False
    first_token_ms: int | None = None
    duration_ms: int | None = None
    reasoning_ms: int | None = None
    tokens_per_s: int = 0
    tools: tuple[str, ...] = ()
    problem: Problem | None = None
    continues: bool = False
    is_continued: bool = False
    cleared_after: bool = False
    left_out: int = 0
    lane: int = 1
    is_last: bool = False

    @property
    def is_running(self) -> bool:
        return self.state == "running"

    @property
    def can_continue(self) -> bool:
        return self.is_last and self.state in ("stopped", "interrupted") and bool(self.text)


class ModelView(msgspec.Struct, frozen=True):
    id: str
    title: str
    note: str = ""
    is_demo: bool = False


class LineView(msgspec.Struct, frozen=True):
    """A conversation in the sidebar."""

    id: str
    title: str
    href: str
    is_current: bool = False
    is_running: bool = False
    branches: int = 1


class LineGroup(msgspec.Struct, frozen=True):
    title: str
    lines: tuple[LineView, ...]


class Sidebar(msgspec.Struct, frozen=True):
    groups: tuple[LineGroup, ...] = ()
    more_href: str = ""
    nav: tuple[NavItem, ...] = ()


class Me(msgspec.Struct, frozen=True):
    """Who is signed in, as the foot of the sidebar shows it."""

    name: str
    initials: str
    email: str
    is_admin: bool = False


class Frame(msgspec.Struct, frozen=True):
    """What every page needs: language, theme, who looks, and the token that proves a form is ours."""

    language: str = "en"
    direction: str = "ltr"
    theme: str = "system"
    look: str = "grove"
    csrf: str = ""
    me: Me | None = None
    timezone: str = ""
    side: str = ""
    is_plain_http: bool = False


class ChatView(msgspec.Struct, frozen=True):
    """The middle of the chat page: one branch, its composer, and what stands in the way of writing."""

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

    @property
    def is_empty(self) -> bool:
        return not self.messages

    @property
    def model_title(self) -> str:
        return next((model.title for model in self.models if model.id == self.model), self.model)


class HitView(msgspec.Struct, frozen=True):
    href: str
    title: str
    passage: str
    when: str


class SessionView(msgspec.Struct, frozen=True):
    id: str
    device: str
    seen: str
    is_current: bool


class KeyView(msgspec.Struct, frozen=True):
    id: str
    name: str
    last_four: str
    created: str
    used: str


def message_view(
    item: PathItem,
    *,
    render: Render,
    titles: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    lane: int = 1,
    is_last: bool = True,
    is_continued: bool = False,
) -> MessageView:
    """One article of the page. render: Markdown to safe HTML; titles: the name people know a model by."""
    message, turn = item.message, item.turn
    is_reply = message.role == "assistant"
    text = text_of(message.parts)
    reasoning = reasoning_of(message.parts)
    first_ms, duration_ms = _turn_times(turn)
    usage = turn.usage if turn else None
    written = usage.output + usage.reasoning if usage else 0
    speaking_ms = duration_ms - first_ms if first_ms is not None and duration_ms is not None else 0
    return MessageView(
        id=message.id,
        conversation_id=message.conversation_id,
        role=message.role,
        state=message.state,
        author=_author(message, titles or {}),
        text=text,
        html=render(text) if is_reply and text else "",
        reasoning_html=render(reasoning) if reasoning else "",
        model=message.model,
        time=clock_text(message.created_at, zone),
        time_iso=iso(message.created_at),
        versions=_versions(item),
        turn_id=turn.id if turn and message.state == "running" else "",
        tokens=written,
        is_estimated=bool(usage and usage.estimated),
        first_token_ms=first_ms,
        duration_ms=duration_ms,
        reasoning_ms=next(
            (p.duration_ms for p in message.parts if isinstance(p, ReasoningPart) and p.duration_ms), None
        ),
        tokens_per_s=round(written * 1000 / speaking_ms) if written > 8 and speaking_ms > 200 else 0,
        tools=tuple(part.name for part in message.parts if isinstance(part, ToolCallPart)),
        problem=_reply_problem(message, turn) if is_reply else None,
        continues=message.continues,
        is_continued=is_continued,
        cleared_after=message.cleared_after,
        left_out=turn.left_out if turn else 0,
        lane=lane,
        is_last=is_last,
    )


def message_views(
    items: Sequence[PathItem],
    *,
    render: Render,
    titles: Mapping[str, str] | None = None,
    zone: tzinfo | None = None,
    ends_here: bool = True,
) -> tuple[MessageView, ...]:
    """The articles of a path in order. A fork changes the colour of the rail. ends_here: the last item is the tip."""
    views = []
    lane = 1
    for position, item in enumerate(items):
        if len(item.versions) > 1:
            lane = 1 + item.versions.index(item.message.id) % LANES
        following = items[position + 1] if position + 1 < len(items) else None
        views.append(
            message_view(
                item,
                render=render,
                titles=titles,
                zone=zone,
                lane=lane,
                is_last=ends_here and following is None,
                is_continued=following is not None and following.message.continues,
            )
        )
    return tuple(views)


def chat_view(
    path: PathView,
    *,
    render: Render,
    models: Sequence[Model],
    zone: tzinfo | None = None,
    problem: Problem | None = None,
) -> ChatView:
    """The page of one branch."""
    titles = {model.id: model.title for model in models}
    messages = message_views(path.items, render=render, titles=titles, zone=zone)
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
    )


def new_chat_view(
    models: Sequence[Model], *, name: str, hour: int, model: str = "", problem: Problem | None = None
) -> ChatView:
    """The page before the first word. hour: of the person's day, for the greeting."""
    return ChatView(
        model=pick_model(models, model),
        models=model_views(models),
        problem=problem or (no_model() if not models else None),
        greeting=greeting(hour, name),
        suggestions=(
            _("Explain a difficult idea with an everyday picture"),
            _("Draft a short message I keep putting off"),
            _("Compare two options in a small table"),
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
        notes.append(_("{count}k context").format(count=model.context_tokens // 1000))
    if "images" in model.abilities:
        notes.append(_("sees pictures"))
    if "reasoning" in model.abilities:
        notes.append(_("thinks"))
    return " · ".join(notes)


def no_model() -> Problem:
    return Problem(
        _("No model is connected yet"),
        _("Put a provider's API key into the environment, or a [[channels]] table into chatserver.toml, then restart."),
        code="no_model",
    )


def greeting(hour: int, name: str) -> str:
    """A few words for the empty page, by the hour of the day."""
    if 5 <= hour < 12:
        return _("Good morning, {name}").format(name=name) if name else _("Good morning")
    if 12 <= hour < 18:
        return _("Good afternoon, {name}").format(name=name) if name else _("Good afternoon")
    if 18 <= hour < 23:
        return _("Good evening, {name}").format(name=name) if name else _("Good evening")
    return _("Still up, {name}?").format(name=name) if name else _("Still up?")


def title_of(conversation: Conversation) -> str:
    return conversation.title or _("New chat")


def sidebar(
    lines: Iterable[ConversationLine],
    *,
    current: str = "",
    now_us: int,
    zone: tzinfo | None = None,
    after: str = "",
    below: str = "",
    nav: Sequence[NavItem] = (),
) -> Sidebar:
    """Conversations grouped by day: pinned, today, yesterday, the week, then months.

    after: the cursor of the lines that follow. below: the group the first line stands under already.
    """
    today = _moment(now_us, zone)
    groups: dict[str, list[LineView]] = {}
    for line in lines:
        title = _("Pinned") if line.pinned else day_title(line.updated_at, today, zone)
        groups.setdefault(title, []).append(
            LineView(
                id=line.id,
                title=line.title or _("New chat"),
                href=f"/c/{line.id}",
                is_current=line.id == current,
                is_running=line.is_running,
                branches=line.branches,
            )
        )
    pinned = groups.pop(_("Pinned"), None)
    ordered = ([(_("Pinned"), pinned)] if pinned else []) + list(groups.items())
    more_href = f"/chats?after={after}&below={quote(ordered[-1][0])}" if after and ordered else ""
    shown = tuple(LineGroup("" if title == below else title, tuple(found)) for title, found in ordered)
    return Sidebar(shown, more_href, tuple(nav))


def day_title(at_us: int, today: datetime, zone: tzinfo | None) -> str:
    day = _moment(at_us, zone).date()
    age = (today.date() - day).days
    if age <= 0:
        return _("Today")
    if age == 1:
        return _("Yesterday")
    if age < 8:
        return _("Previous 7 days")
    month = _MONTHS[day.month - 1]()
    return month if day.year == today.year else f"{month} {day.year}"


_MONTHS: tuple[Callable[[], str], ...] = (
    lambda: _("January"),
    lambda: _("February"),
    lambda: _("March"),
    lambda: _("April"),
    lambda: _("May"),
    lambda: _("June"),
    lambda: _("July"),
    lambda: _("August"),
    lambda: _("September"),
    lambda: _("October"),
    lambda: _("November"),
    lambda: _("December"),
)


def me_of(account: Account, is_admin: bool | None = None) -> Me:
    name = account.name or account.email.split("@")[0]
    words = [word for word in name.replace(".", " ").replace("_", " ").split() if word]
    initials = (words[0][0] + words[-1][0] if len(words) > 1 else name[:2]).upper()
    return Me(name, initials, account.email, account.role == "admin" if is_admin is None else is_admin)


def hit_views(hits: Iterable[Hit], *, now_us: int, zone: tzinfo | None = None) -> tuple[HitView, ...]:
    today = _moment(now_us, zone)
    return tuple(
        HitView(
            href=f"/c/{hit.conversation_id}/{hit.message_id}/latest#m-{hit.message_id}"
            if hit.message_id
            else f"/c/{hit.conversation_id}",
            title=hit.title or _("New chat"),
            passage=hit.text if hit.message_id else "",
            when=day_title(hit.at, today, zone) if hit.at else "",
        )
        for hit in hits
    )


def session_views(
    sessions: Iterable[Session], *, current: str, now_us: int, zone: tzinfo | None = None
) -> tuple[SessionView, ...]:
    today = _moment(now_us, zone)
    return tuple(
        SessionView(
            id=session.id,
            device=device_name(session.user_agent),
            seen=when_text(session.seen_at, today, zone),
            is_current=session.id == current,
        )
        for session in sessions
    )


def key_views(keys: Iterable[ApiKey], *, now_us: int, zone: tzinfo | None = None) -> tuple[KeyView, ...]:
    today = _moment(now_us, zone)
    return tuple(
        KeyView(
            id=key.id,
            name=key.name or _("API key"),
            last_four=key.last_four,
            created=when_text(key.created_at, today, zone),
            used=when_text(key.used_at, today, zone) if key.used_at else _("never used"),
        )
        for key in keys
        if key.revoked_at is None
    )


def device_name(user_agent: str) -> str:
    """Browser and system in words, from a User-Agent; only for people to recognise their own devices by."""
    browsers = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Mac OS", "macOS"),
        ("Windows", "Windows"),
    )
    browser = next((name for mark, name in browsers if mark in user_agent), "")
    system = next((name for mark, name in systems if mark in user_agent), "Linux" if "Linux" in user_agent else "")
    if browser and system:
        return _("{browser} on {system}").format(browser=browser, system=system)
    return browser or system or (user_agent[:40] if user_agent else _("Unknown device"))


def zone_of(name: str) -> tzinfo | None:
    """The time zone an account told us, or None for the server's own."""
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def hour_of(now_us: int, zone: tzinfo | None) -> int:
    return _moment(now_us, zone).hour


def clock_text(at_us: int, zone: tzinfo | None = None) -> str:
    return _moment(at_us, zone).strftime("%H:%M")


def when_text(at_us: int, today: datetime, zone: tzinfo | None) -> str:
    """`09:18` today, else the day."""
    moment = _moment(at_us, zone)
    if moment.date() == today.date():
        return moment.strftime("%H:%M")
    return f"{moment.day} {_MONTHS[moment.month - 1]()}" + ("" if moment.year == today.year else f" {moment.year}")


def iso(at_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_text(duration_ms: int) -> str:
    """`40 ms`, `0.8 s`, `6 s`, `2 min 5 s`."""
    seconds = duration_ms / 1000
    if seconds < 0.1:
        return _("{count} ms").format(count=duration_ms)
    if seconds < 10:
        return _("{seconds} s").format(seconds=f"{seconds:.1f}".removesuffix(".0"))
    if seconds < 60:
        return _("{seconds} s").format(seconds=round(seconds))
    return _("{minutes} min {seconds} s").format(minutes=int(seconds // 60), seconds=round(seconds % 60))


def figures(message: MessageView) -> tuple[str, ...]:
    """The small line below a reply: tokens, speed, time to the first of them. A narrow page shows the first two."""
    parts = []
    if message.tokens:
        count = f"{message.tokens:,}"
        text = ngettext("{count} token", "{count} tokens", message.tokens).format(count=count)
        parts.append("≈ " + text if message.is_estimated else text)
    if message.tokens_per_s:
        parts.append(_("{count} tok/s").format(count=message.tokens_per_s))
    if message.first_token_ms is not None:
        parts.append(_("first token {time}").format(time=seconds_text(message.first_token_ms)))
    return tuple(parts)


def thought_text(message: MessageView) -> str:
    if message.is_running:
        return _("Thinking…")
    if message.reasoning_ms:
        return _("Thought for {time}").format(time=seconds_text(message.reasoning_ms))
    return _("Thoughts")


def plain_html(text: str) -> Markup:
    """What a person wrote, escaped; its line breaks are kept by the style sheet."""
    return Markup.escape(text)


def _author(message: Message, titles: Mapping[str, str]) -> str:
    if message.role == "assistant":
        return titles.get(message.model, message.model) or _("Assistant")
    return {"system": _("System"), "tool": _("Tool")}.get(message.role, _("You"))


def _turn_times(turn: Turn | None) -> tuple[int | None, int | None]:
    if turn is None:
        return None, None
    first = (turn.first_token_at - turn.created_at) // 1000 if turn.first_token_at else None
    whole = (turn.ended_at - turn.created_at) // 1000 if turn.ended_at else None
    return first, whole


def _versions(item: PathItem) -> Versions | None:
    ids = item.versions
    if len(ids) < 2:
        return None
    here = ids.index(item.message.id)
    base = f"/c/{item.message.conversation_id}"
    return Versions(
        index=here + 1,
        total=len(ids),
        previous_href=f"{base}/{ids[here - 1]}/latest" if here > 0 else "",
        next_href=f"{base}/{ids[here + 1]}/latest" if here + 1 < len(ids) else "",
    )


def _reply_problem(message: Message, turn: Turn | None) -> Problem | None:
    """Why a reply is not whole, in words. A stopped one is no problem: the person wanted it so."""
    if message.state == "interrupted":
        text = (
            turn.error.message if turn and turn.error else _("What had arrived is kept. Continue picks up from here.")
        )
        return Problem(_("The answer was cut off"), text, code="interrupted")
    if message.state == "failed":
        code = turn.error.code if turn and turn.error else "failed"
        text = turn.error.message if turn and turn.error else _("Try again, or pick another model.")
        return Problem(problem_title(code) or _("No answer came"), text, code=code)
    return None


def problem_title(code: str) -> str:
    """A few words for an error's code; empty for one nobody has words for."""
    titles = {
        "upstream_key_refused": _("The model's key was refused"),
        "upstream_pair_refused": _("This key may not use this model"),
        "upstream_rate_limit": _("The model is busy"),
        "upstream_overloaded": _("The model is busy"),
        "upstream_timeout": _("The model took too long"),
        "upstream_connect": _("The model cannot be reached"),
        "upstream_too_long": _("This chat is longer than the model's window"),
        "upstream_content": _("The model declined to answer"),
        "upstream_not_found": _("The model is not there any more"),
        "no_model": _("No model is connected yet"),
        "unknown_model": _("The model is not there any more"),
        "reply_running": _("An answer is still being written"),
        "turns_per_account": _("Several answers are still being written"),
        "turns_per_node": _("This server is busy"),
        "draining": _("Back in a moment"),
        "csrf": _("This page is from an earlier session"),
    }
    return titles.get(code, "")


def _moment(at_us: int, zone: tzinfo | None) -> datetime:
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_us)
    return utc.astimezone(zone)
