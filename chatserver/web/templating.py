"""Templates, their translations and their icons: from a view to HTML."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.runtime import Context
from markupsafe import Markup

from chatserver import __version__, words
from chatserver.domain.extend import ThemeSpec
from chatserver.domain.pages import PageFiles
from chatserver.errors import SetupError
from chatserver.web import assets, slots, views
from chatserver.web.markdown import in_words
from chatserver.web.views import Frame, MessageView

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


_plugins: dict[str, jinja2.BaseLoader] = {}
_STAND_IN = "message-id"

BLOCKS = frozenset(f"blocks/{path.name}" for path in (TEMPLATES / "blocks").glob("*.html"))
"""The named blocks: what a theme may fill anew."""


def make_environment(theme: ThemeSpec | None = None) -> jinja2.Environment:
    """The templates as a theme shows them. Raises SetupError when it replaces what it may not."""
    core = jinja2.FileSystemLoader(TEMPLATES)
    own = theme_templates(theme) if theme is not None else {}
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.DictLoader(own), core, jinja2.PrefixLoader(_plugins)]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        extensions=["jinja2.ext.i18n"],
    )
    # asked for at every use, because each request speaks its own language
    environment.install_gettext_callables(words.gettext, words.ngettext, newstyle=True)  # type: ignore[attr-defined]
    environment.globals.update(
        gettext=_tell,
        ngettext=_tell_many,
        deeds=_deeds_in(environment),
        stand_in=_stand_in,
        icon=icon,
        slot=slots.NOTHING,
        static_url=assets.url,
        sheet_links=sheet_links,
        preloads=assets.preloads,
        stylesheets=assets.stylesheets,
        figures=views.figures,
        thought_text=views.thought_text,
        seconds_text=views.seconds_text,
        number_text=words.number_text,
        percent_text=words.percent_text,
        list_text=words.list_text,
        row_text=words.row_text,
        size_text=views.size_text,
        words=words,
        bound_keys=views.bound_keys,
        key_names=views.key_names,
        in_words=in_words,
        tool_word=views.tool_word,
    )
    return environment


@jinja2.pass_context
def _tell(context: Context, message: str, **values: Any) -> str:
    return _filled(context, words.gettext(message), values)


@jinja2.pass_context
def _tell_many(context: Context, singular: str, plural: str, num: int, **values: Any) -> str:
    return _filled(context, words.ngettext(singular, plural, num), {"num": num, **values})


def _filled(context: Context, text: str, values: Mapping[str, Any]) -> str:
    """As Jinja's own does it, with whole numbers as the reader writes them."""
    told = {name: words.number_text(one) if type(one) is int else one for name, one in values.items()}
    return (Markup(text) if context.eval_ctx.autoescape else text) % told


def install_pages(plugin: str, files: PageFiles) -> None:
    """Take up what a plugin's pages are made of. Raises SetupError."""
    if files.templates_dir:
        _plugins[plugin] = jinja2.FileSystemLoader(files.templates_dir)
    if files.static_dir:
        assets.install_folder(plugin, Path(files.static_dir))


def _stand_in(role: str) -> MessageView:
    """Nobody's message: what is made of it has `message-id` where the id of one goes."""
    return MessageView(_STAND_IN, "", role, "done", "")


def _deeds_in(environment: jinja2.Environment) -> Callable[[MessageView], Markup]:
    """The buttons of a message. They differ by its id alone for most, so they are rendered once and filled in."""
    known: dict[tuple[str, str, str, bool], list[str]] = {}

    def deeds(message: MessageView) -> Markup:
        kind = (words.language(), message.role, message.verdict, message.can_continue)
        pieces = known.get(kind)
        if pieces is None:
            text = "Stand-in" if message.can_continue else ""
            state = "stopped" if message.can_continue else "done"
            model = MessageView(
                _STAND_IN, "", message.role, state, "", text=text, is_last=True, verdict=message.verdict
            )
            pieces = environment.get_template("deeds.html").render(m=model).strip().split(_STAND_IN)
            known[kind] = pieces
        return Markup(str(Markup.escape(message.id)).join(pieces))

    return deeds


def theme_templates(theme: ThemeSpec) -> dict[str, str]:
    """What a theme says itself, by template name: its blocks, and whole files that are copies of this very version."""
    if not theme.templates_dir:
        return {}
    folder = Path(theme.templates_dir)
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.html"))}
    for name in [*found, *theme.replaces]:
        if name in BLOCKS and name in found:
            continue
        if name not in theme.replaces or name not in found or not (TEMPLATES / name).is_file():
            raise SetupError(
                f"The theme {theme.name!r} brings the template {name!r}, which is no named block and is not among what"
                f" it says it replaces. The blocks are: {', '.join(sorted(BLOCKS))}."
            )
        if theme.replaces[name] != __version__:
            raise SetupError(
                f"The theme {theme.name!r} replaces {name} by a copy of version {theme.replaces[name]}, and this is"
                f" {__version__}. Update the theme, or switch it off."
            )
    return {name: path.read_text(encoding="utf-8") for name, path in found.items()}


_plain = make_environment()
_looks: dict[str, jinja2.Environment] = {}


def install_themes(themes: Sequence[ThemeSpec]) -> None:
    """Take up the themes that plugins brought, with what they say themselves. Raises SetupError."""
    assets.install_themes(themes)
    _looks.clear()
    _looks.update({theme.name: make_environment(theme) for theme in themes if theme.templates_dir})


def environment_of(look: str) -> jinja2.Environment:
    """The templates of a look; a look that says nothing itself has the core's."""
    theme = assets.theme_of(look)
    return _looks.get(theme.name, _plain) if theme is not None else _plain


def render(template: str, **values: Any) -> str:
    """A whole page or a fragment, in the look of its `frame`. The names each template wants stand at its head."""
    frame = values.get("frame")
    look = frame.look if isinstance(frame, Frame) else ""
    return environment_of(look).get_template(template).render(**values)


def render_message(message: MessageView, slot: slots.Slots = slots.NOTHING, look: str = "") -> str:
    """The article of one message: what `end` replaces and what a page is made of."""
    return environment_of(look).get_template("message.html").render(message=message, slot=slot)


def render_problem(problem: views.Problem) -> str:
    """A notice for a page that is open already: htmx puts it into `#notices`, whatever was asked for."""
    return render("notice.html", problem=problem)


def render_error_page(problem: views.Problem, *, status: int, frame: Frame | None = None) -> str:
    """A whole page that says what went wrong and what to do next."""
    return render("error.html", problem=problem, status=status, frame=frame or Frame())
