"""Templates, their translations and their icons: from a view to HTML."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from chatserver.web import assets, slots, views
from chatserver.web.views import Frame, MessageView
from chatserver.web.words import translations

TEMPLATES = Path(__file__).parent / "templates"


@functools.cache
def icon(name: str, classes: str = "") -> Markup:
    """An icon of the sprite, for decoration: it says nothing to a screen reader."""
    href = f"{assets.url('core', 'icons.svg')}#{name}"
    return Markup('<svg class="i {}" aria-hidden="true"><use href="{}"/></svg>').format(classes, href)


def sheet_links(look: str, part: str = "") -> Markup:
    """The links to a theme's style sheets: those of every page, or those of one part of the house."""
    link = Markup('<link rel="stylesheet" href="{}">')
    return Markup("\n").join(link.format(href) for href in assets.stylesheets(look, part))


def make_environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    environment.install_gettext_translations(translations, newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(
        icon=icon,
        slot=slots.NOTHING,
        static_url=assets.url,
        sheet_links=sheet_links,
        preloads=assets.preloads,
        figures=views.figures,
        thought_text=views.thought_text,
        seconds_text=views.seconds_text,
    )
    return environment


environment = make_environment()


def render(template: str, **values: Any) -> str:
    """A whole page or a fragment. The names each template wants stand at its head."""
    return environment.get_template(template).render(**values)


def render_message(message: MessageView, slot: slots.Slots = slots.NOTHING) -> str:
    """The article of one message: what `end` replaces and what a page is made of."""
    return environment.get_template("message.html").render(message=message, slot=slot)


def render_problem(problem: views.Problem) -> str:
    """A notice for a page that is open already: htmx puts it into `#notices`, whatever was asked for."""
    return render("notice.html", problem=problem)


def render_error_page(problem: views.Problem, *, status: int, frame: Frame | None = None) -> str:
    """A whole page that says what went wrong and what to do next."""
    return render("error.html", problem=problem, status=status, frame=frame or Frame())
