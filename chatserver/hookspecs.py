"""Every hook: its signature, its mode, when it is called, what it may return, and what an error means. Nothing else.

Modes. gather: every answer, lists flattened. first: one by one, stops at the first that is not None. chain: each may
replace the value given as the first argument, None keeps it. notify: isolated, logged, no answer.
Implementations may be plain functions (run in a thread, but for the register_* hooks, which run once at start) or
coroutines (cancelled after `timeout_s`). Within a hook the order is the integer an implementation states, then its
name. When one fails: chain, first and guards fail the request; gather and notify go on without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar, overload

import msgspec
import pluggy

from chatserver.domain.access import Actor
from chatserver.domain.attempts import AttemptEnd, AttemptStart
from chatserver.domain.buses import BusKind
from chatserver.domain.covers import Cover, CoverContext
from chatserver.domain.endpoints import Endpoint
from chatserver.domain.events import Delivery, Event, name_of_event
from chatserver.domain.extend import (
    Admission,
    AuthBackend,
    BlobKind,
    Candidates,
    ChannelOffer,
    Engine,
    JobSpec,
    Migration,
    ModelUse,
    NavItem,
    Prompt,
    Provider,
    Refusal,
    Route,
    SendRequest,
    Setting,
    SlotContext,
    ThemeSpec,
)
from chatserver.domain.imported import Importer
from chatserver.domain.pages import PageFiles
from chatserver.domain.spans import Span
from chatserver.domain.tools import Tool, ToolUse
from chatserver.domain.voices import Speaker, Transcriber

PROJECT = "chatserver"
Mode = Literal["gather", "first", "chain", "notify"]
F = TypeVar("F", bound=Callable[..., Any])

_pluggy_spec = pluggy.HookspecMarker(PROJECT)
_pluggy_impl = pluggy.HookimplMarker(PROJECT)


class HookRule(msgspec.Struct, frozen=True):
    """How a hook is called. at_start: run synchronously in the loading pass. fatal: a failure stops the start.

    guard: the hook keeps something shut. A failure means no, and it is asked also while its plugin is set aside.
    """

    mode: Mode
    timeout_s: float
    at_start: bool = False
    fatal: bool = False
    guard: bool = False


class Mark(msgspec.Struct, frozen=True):
    """What an implementation says of itself; see hookimpl."""

    order: int = 100
    slots: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()


RULE, MARK = "chatserver_rule", "chatserver_mark"
"""Under which names a marked function carries the two."""


def hookspec(
    mode: Mode, *, timeout_s: float = 2.0, at_start: bool = False, fatal: bool = False, guard: bool = False
) -> Callable[[F], F]:
    """Mark a function as a hook's specification with the rule it is called by."""

    def mark(function: F) -> F:
        function.__dict__[RULE] = HookRule(mode, timeout_s, at_start, fatal, guard)
        return _pluggy_spec(function)

    return mark


@overload
def hookimpl(function: F) -> F: ...
@overload
def hookimpl(
    *, order: int = 100, optional: bool = False, slots: Sequence[str] = (), events: Sequence[type[Event]] = ()
) -> Callable[[F], F]: ...
def hookimpl(
    function: F | None = None,
    *,
    order: int = 100,
    optional: bool = False,
    slots: Sequence[str] = (),
    events: Sequence[type[Event]] = (),
) -> F | Callable[[F], F]:
    """Mark a plugin's function as the implementation of the hook of its name; with or without parentheses.

    order: lower runs earlier. optional: skipped without an error when the hook belongs to a plugin that is absent.
    slots: of render_slot, the places it may fill; it is asked for no others.
    events: of handle_event, the kinds it is told of; it hears of no others.
    """

    def mark(function: F) -> F:
        function.__dict__[MARK] = Mark(order, frozenset(slots), frozenset(map(name_of_event, events)))
        return _pluggy_impl(function, optionalhook=True) if optional else _pluggy_impl(function)

    return mark if function is None else mark(function)


# --- what a plugin brings, asked once at start ---------------------------------------------------------------------


@hookspec("gather", at_start=True, fatal=True)
def register_hookspecs() -> list[object]:
    """Modules or classes holding hookspecs of the plugin's own, for other plugins to implement. Called first of all."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_settings() -> list[Setting]:
    """The settings and environment names the plugin reads. What is not declared here it does not get."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_migrations() -> list[Migration]:
    """The plugin's tables, each prefixed `<plugin>_`. Run in the order given, after the core's."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_providers() -> list[Provider]:
    """The vendors' formats the plugin speaks. A provider is never set aside, only reported."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_channel_offers() -> list[ChannelOffer]:
    """Services an admin may connect by pasting a key. Each names a provider; one nobody brings is not shown."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_tools() -> list[Tool]:
    """Tools every model may call in a turn. The first of a name counts."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_voices() -> list[Speaker]:
    """Whoever reads text aloud; each tells its voices when it is asked for them."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_transcribers() -> list[Transcriber]:
    """Whoever writes down what was said in a recording. The first is the site's default."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_engines() -> list[Engine]:
    """Databases the server can run on, by the scheme of CHATSERVER_DATABASE_URL. Never set aside, only reported."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_buses() -> list[BusKind]:
    """Ways for nodes to wake each other. They carry no truth, only hints to look into the database."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_blob_stores() -> list[BlobKind]:
    """Places for the content of files, by the scheme of CHATSERVER_BLOB_URL. Never set aside, only reported."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_auth_backends() -> list[AuthBackend]:
    """Ways to sign in, shown on the sign-in page in their order. Never set aside, only reported."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_routes() -> list[Route]:
    """HTTP routes, mounted below `/x/<plugin>/`. The request carries the Actor in `scope["state"]["actor"]`."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_endpoints() -> list[Endpoint]:
    """Addresses outside `/x/`, where programs with an API key speak to the plugin as to another service."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_pages() -> list[PageFiles]:
    """Where the templates and static files of the plugin's pages are. At most one a plugin."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_jobs() -> list[JobSpec]:
    """Kinds of leased work, run at least once on one node at a time."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_themes() -> list[ThemeSpec]:
    """Looks an operator or an account may pick. Static files are served below `/static/<theme>/`."""
    raise AssertionError("a specification is never called")


@hookspec("gather", at_start=True, fatal=True)
def register_importers() -> list[Importer]:
    """Formats of other programs' exports that `chatserver import` understands. The first that recognises a file reads
    it."""
    raise AssertionError("a specification is never called")


# --- a plugin's life ------------------------------------------------------------------------------------------------


@hookspec("notify", timeout_s=60.0, fatal=True)
def startup(ctx: Any) -> None:
    """Before the first request. `ctx` is the plugin's only door (a chatserver.Context). A failure stops the start."""


@hookspec("notify", timeout_s=10.0)
def shutdown() -> None:
    """After the last request. Failures are logged."""


# --- the road of a message ------------------------------------------------------------------------------------------


@hookspec("gather", guard=True)
def permission_allowed(actor: Actor, permission: str) -> bool | None:
    """May this actor do this? One False vetoes; None everywhere means the core's default."""


@hookspec("chain")
def prepare_send(request: SendRequest) -> SendRequest | Refusal | None:
    """Before a request for a reply is kept: check and complete one's own field, name a model, add labels; or refuse."""


@hookspec("chain", guard=True)
def admit_call(admission: Admission) -> Admission | Refusal | None:
    """Before a call is made. A new Admission may lower `max_output`; a Refusal stops the call and is shown."""


@hookspec("chain", timeout_s=10.0)
def prepare_prompt(prompt: Prompt) -> Prompt | None:
    """After the path is cut to its context, before channels are ranked. Add messages, tools, parameters; never drop."""


@hookspec("chain")
def rank_channels(candidates: Candidates, use: ModelUse) -> Candidates | None:
    """The channels that could serve this call, best first. Removing one means it is not tried."""


@hookspec("notify")
def attempt_started(start: AttemptStart) -> None:
    """A channel is about to be asked, for a turn, an aside or a direct call. Stands in the road of the first token."""


@hookspec("notify")
def attempt_ended(end: AttemptEnd) -> None:
    """The attempt is over, however it went. Before the next channel is asked, or the call ends."""


@hookspec("notify")
def spans_ended(spans: tuple[Span, ...]) -> None:
    """Requests, turns, calls and attempts that are over, some at a time, on the node where they ran. Nobody waits."""


@hookspec("gather", timeout_s=10.0)
def offer_tools(use: ToolUse) -> list[Tool]:
    """Before a turn's model is asked: tools known only now, for this turn. One named like a registered one is not
    offered."""
    raise AssertionError("a specification is never called")


@hookspec("notify", timeout_s=10.0)
def handle_event(delivery: Delivery) -> None:
    """A committed fact, from the outbox, at least once. `delivery.seq` is the idempotency key; an error is retried."""


# --- the page -------------------------------------------------------------------------------------------------------


@hookspec("gather")
def nav_items(actor: Actor) -> list[NavItem]:
    """Links for the sidebar, below Search."""
    raise AssertionError("a specification is never called")


@hookspec("gather")
def admin_pages(actor: Actor) -> list[NavItem]:
    """Links for the console's navigation, below its own. Asked for who may see the console only; the pages behind
    them ask for `admin.console` themselves and extend `plugin_admin.html`."""
    raise AssertionError("a specification is never called")


@hookspec("gather")
def cover_text(context: CoverContext) -> list[Cover]:
    """Cards for stretches of messages that are about to be shown. The text itself stays what it is."""
    raise AssertionError("a specification is never called")


@hookspec("gather")
def render_slot(context: SlotContext) -> str | None:
    """HTML for a named place in a page. Sanitised by nobody: a plugin is trusted code. Escape what people wrote."""
