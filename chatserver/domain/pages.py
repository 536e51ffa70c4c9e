"""A plugin's own pages in the house's frame: where its files are, what a visit brings, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.files import ArrivedFile
from chatserver.domain.models import Model


class PageFiles(msgspec.Struct, frozen=True):
    """What a plugin's pages are made of; '' where there is none.

    templates_dir: Jinja templates, which name each other `<plugin>/<file>` and extend the core's `plugin.html`.
    static_dir: style sheets, scripts and pictures, served with hashed names.
    """

    templates_dir: str = ""
    static_dir: str = ""


class PageAnswer(msgspec.Struct, frozen=True):
    """What goes back to the browser; made by the functions of a PageVisit."""

    body: bytes
    status: int = 200
    headers: dict[str, str] = {}


class PageVisit(Protocol):
    """One request of somebody signed in to a page of a plugin. Whoever changes something has shown a form's token.

    path: the places in the route's path. query, form: the last value of each name. is_htmx: a fragment is wanted.
    models: what the actor may pick.

    page: a whole page from a template of the plugin; it is given `frame`, `sidebar`, `slot` and the values, and
    `console` where its route asks for `admin.console`. problem: an
    error to show above it, with its status unless another is given. news: a good word to show there. fragment: a
    template alone. go: to a path of this server, with GET. listed: every value of a name of the form. arrived: the
    files of a field, where the route takes files. when: a moment in microseconds, as the reader says it.
    """

    actor: Actor
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    is_htmx: bool
    models: Sequence[Model]

    async def page(
        self, template: str, *, news: str = "", problem: Exception | None = None, status: int = 0, **values: Any
    ) -> PageAnswer: ...
    def fragment(self, template: str, *, status: int = 200, **values: Any) -> PageAnswer: ...
    def go(self, path: str) -> PageAnswer: ...
    def listed(self, name: str) -> list[str]: ...
    def arrived(self, field: str) -> Sequence[ArrivedFile]: ...
    def when(self, at_us: int) -> str: ...


class PublicVisit(Protocol):
    """One request of anybody to a page at a plugin's public prefix. actor: None for who is not signed in.

    page: a whole page from a template of the plugin that extends the core's `plugin_public.html`; it is given `frame`
    and the values. when: a moment in microseconds, as the reader says it; day: the day of it.
    """

    actor: Actor | None
    path: Mapping[str, str]
    query: Mapping[str, str]

    def page(self, template: str, **values: Any) -> PageAnswer: ...
    def when(self, at_us: int) -> str: ...
    def day(self, at_us: int) -> str: ...
