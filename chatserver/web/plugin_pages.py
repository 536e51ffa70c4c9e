"""A plugin's page: the request made into a visit, and what the plugin answers put into the house's frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from litestar import Request
from litestar.datastructures import State

from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.extend import Route
from chatserver.domain.files import ArrivedFile
from chatserver.domain.models import Model
from chatserver.domain.pages import PageAnswer
from chatserver.errors import BadInput, ChatserverError
from chatserver.web import bodies, slots, templating, views
from chatserver.web.auth import desk_of, local_path
from chatserver.web.errors import NotSignedIn, problem_of
from chatserver.web.forms import arrived_in, form_in
from chatserver.web.pages.console.desk import CONSOLE, console_of
from chatserver.web.pages.visit import Visit
from chatserver.web.views import Problem
from chatserver.words import gettext as _

VARY = "hx-request, hx-target"


class PluginVisit:
    """A visit as `chatserver.PageVisit` promises it."""

    def __init__(
        self, plugin: str, visit: Visit, path: Mapping[str, str], form: Mapping[str, list[str]], is_console: bool
    ) -> None:
        """form: every value of each name. is_console: its pages may stand in the console."""
        self._is_console = is_console
        self._plugin = plugin
        self._visit = visit
        self._form = form
        self.path = path
        self.form: Mapping[str, str] = {name: values[-1] for name, values in form.items()}
        self.query: Mapping[str, str] = dict(visit.request.query_params)
        self.actor: Actor = visit.actor
        self.is_htmx = visit.is_htmx
        self.models: Sequence[Model] = visit.models()

    def listed(self, name: str) -> list[str]:
        return self._form.get(name, [])

    def arrived(self, field: str) -> Sequence[ArrivedFile]:
        return arrived_in(self._visit.request, field)

    def when(self, at_us: int) -> str:
        zone = self._visit.zone
        return views.when_text(at_us, views.moment_of(now_us(), zone), zone)

    async def page(
        self, template: str, *, news: str = "", problem: Exception | None = None, status: int = 0, **values: Any
    ) -> PageAnswer:
        visit = self._visit
        if self._is_console:
            values = {"console": await console_of(visit), **values}
        told = _problem_of(problem)
        html = templating.render(
            f"{self._plugin}/{template}",
            **{
                "frame": visit.frame,
                "sidebar": await visit.sidebar(),
                "slot": await slots.fill(visit.house.plugins, visit.actor.account),
                "here": f"/x/{self._plugin}/",
                "news": news,
                "problem": told,
                **values,
            },
        )
        found = problem.status if isinstance(problem, ChatserverError) else 200
        return _html(html, status or found)

    def fragment(self, template: str, *, status: int = 200, **values: Any) -> PageAnswer:
        return _html(templating.render(f"{self._plugin}/{template}", frame=self._visit.frame, **values), status)

    def go(self, path: str) -> PageAnswer:
        return PageAnswer(b"", 303, {"location": local_path(path) or f"/x/{self._plugin}/"})


class OpenVisit:
    """A visit as `chatserver.PublicVisit` promises it."""

    def __init__(self, plugin: str, request: Request[Any, Any, State], visit: Visit | None) -> None:
        self._plugin = plugin
        self._frame = visit.frame if visit is not None else desk_of(request).frame(request)
        self._zone = visit.zone if visit is not None else None
        self.actor: Actor | None = visit.actor if visit is not None else None
        self.path: Mapping[str, str] = request.scope["path_params"]
        self.query: Mapping[str, str] = dict(request.query_params)

    def page(self, template: str, **values: Any) -> PageAnswer:
        return _html(templating.render(f"{self._plugin}/{template}", frame=self._frame, **values), 200)

    def when(self, at_us: int) -> str:
        return views.when_text(at_us, views.moment_of(now_us(), self._zone), self._zone)

    def day(self, at_us: int) -> str:
        return views.date_text(at_us, self._zone)


async def serve_public(plugin: str, route: Route, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Ask a plugin for a page that anybody may see, and send it. Raises what the plugin raises."""
    assert route.public_page is not None
    request: Request[Any, Any, State] = Request(scope, receive, send)  # type: ignore[arg-type]
    visit = await Visit.of(request) if isinstance(scope["state"].get("actor"), Actor) else None
    await _send(await route.public_page(OpenVisit(plugin, request, visit)), send)


async def serve(plugin: str, route: Route, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Ask a plugin for its page, and send it. Raises NotSignedIn, Refused, and what the plugin raises."""
    assert route.page is not None
    actor = scope["state"].get("actor")
    if not isinstance(actor, Actor):
        raise NotSignedIn
    request: Request[Any, Any, State] = Request(scope, receive, send)  # type: ignore[arg-type]
    visit = await Visit.of(request)
    await request.app.state.proofs.admit(scope, route.permission, is_light=route.is_light)
    form: dict[str, list[str]] = {}
    if scope["method"] != "GET":
        brought = form_in(request)
        form = brought.texts if brought is not None else await _read_form(scope, receive)
    is_console = route.permission == CONSOLE["permission"]
    await _send(await route.page(PluginVisit(plugin, visit, scope["path_params"], form, is_console)), send)


async def _send(answer: PageAnswer, send: Any) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers.append((b"content-length", b"%d" % len(answer.body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


async def _read_form(scope: dict[str, Any], receive: Any) -> dict[str, list[str]]:
    """Every value of each name. Litestar reads forms for its own routes only."""
    given = dict(scope["headers"])
    body = await bodies.read_body(receive, given)
    if body and not given.get(b"content-type", b"").startswith(b"application/x-www-form-urlencoded"):
        raise BadInput("This page takes a plain form.", code="bad_form", status=415)
    form: dict[str, list[str]] = {}
    for name, value in parse_qsl(body.decode(), keep_blank_values=True):
        form.setdefault(name, []).append(value)
    return form


def _html(html: str, status: int) -> PageAnswer:
    return PageAnswer(html.encode(), status, {"content-type": "text/html; charset=utf-8", "vary": VARY})


def _problem_of(error: Exception | None) -> Problem | None:
    if error is None:
        return None
    if isinstance(error, ChatserverError):
        return problem_of(error)
    return Problem(_("That did not work"), _("Something went wrong here. Try again."))
