"""Static files of the core and of the themes, kept in memory, their hash in the address."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from chatserver.domain.extend import ThemeSpec
from chatserver.errors import SetupError
from chatserver.web.joining import join_script, lean

log = structlog.get_logger("chatserver.web")

STATIC = Path(__file__).parent / "static"
MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
DEFAULT_LOOK = "grove"
SCRIPT = "app.js"
ALL_SHEETS = "all.css"
IMMUTABLE = "public, max-age=31536000, immutable"


class StaticFile(msgspec.Struct, frozen=True):
    """`packed` is the gzip of `body`, or empty where that would not help."""

    body: bytes
    packed: bytes
    media_type: str


class Root(msgspec.Struct, frozen=True):
    """A folder of files under one name; `digest` changes with any of them, so that they may refer to each other."""

    name: str
    digest: str
    files: dict[str, StaticFile]


def read_root(name: str, folder: Path, *, script: str = "", sheets: Sequence[str] = ()) -> Root:
    """Every file below a folder of a kind we know; anything else is not served.

    script: a module that is served joined with all it imports. sheets: those that are also served as one, `all.css`.
    """
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    bodies = {relative: path.read_bytes() for relative, path in found.items() if path.suffix in MEDIA_TYPES}
    digest = hashlib.sha256()
    for relative, body in bodies.items():
        digest.update(relative.encode() + b"\0" + body)
    if script:
        modules = {relative: body.decode() for relative, body in bodies.items() if relative.endswith(".js")}
        joined, parts = join_script(modules, script)
        bodies = {relative: body for relative, body in bodies.items() if relative not in parts}
        lazy = {relative: lean(text) for relative, text in modules.items() if relative in bodies}
        bodies |= {relative: text.encode() for relative, text in {**lazy, script: joined}.items()}
    if len(sheets) > 1:
        for sheet in set(sheets) - set(bodies):
            log.warning("style_sheet_missing", theme=name, sheet=sheet)
        bodies[ALL_SHEETS] = b"\n".join(bodies[sheet] for sheet in sheets if sheet in bodies)
    return Root(name, digest.hexdigest()[:12], {relative: pack(relative, body) for relative, body in bodies.items()})


def pack(name: str, body: bytes) -> StaticFile:
    suffix = Path(name).suffix
    packed = b"" if suffix in (".woff2", ".png") else gzip.compress(body, 9, mtime=0)
    return StaticFile(body, packed if len(packed) < len(body) else b"", MEDIA_TYPES[suffix])


_roots: dict[str, Root] = {"core": read_root("core", STATIC, script=SCRIPT)}
_themes: dict[str, ThemeSpec] = {}


def install_themes(themes: Sequence[ThemeSpec]) -> None:
    """Take up the themes that plugins brought, the default one first. Called once, before the first page. One that
    builds on a theme that is not here is left out, and the log says so."""
    named = {theme.name: theme for theme in sorted(themes, key=lambda theme: theme.name != DEFAULT_LOOK)}
    _themes.clear()
    for theme in named.values():
        if theme.base and (theme.base not in named or named[theme.base].base):
            log.warning("theme_left_out", theme=theme.name, builds_on=theme.base)
            continue
        _themes[theme.name] = theme
        _roots[theme.name] = read_root(theme.name, Path(theme.static_dir), sheets=theme.stylesheets)


def digests() -> list[str]:
    """One of each folder of files; the list of them names a version of everything static."""
    return [root.digest for root in _roots.values()]


def install_folder(name: str, folder: Path) -> None:
    """Serve a plugin's files under its name. Raises SetupError where a theme of that name is."""
    if name in _themes:
        raise SetupError(f"The plugin {name} brings static files and a theme of its own name; give the theme another.")
    _roots[name] = read_root(name, folder)


def themes() -> tuple[ThemeSpec, ...]:
    return tuple(_themes.values())


def theme_of(look: str) -> ThemeSpec | None:
    """The theme of this name, else the default one, else whichever there is."""
    return _themes.get(look) or next(iter(_themes.values()), None)


def url(root: str, name: str) -> str:
    """The address of a file; it never changes its meaning, so it may be kept for ever."""
    return f"/static/{root}/{_roots[root].digest}/{name}"


def stylesheets(look: str, part: str = "") -> list[str]:
    """The style sheets of a theme for every page, or those for one part of the house; where the theme is not there,
    the core's plain one."""
    theme = theme_of(look)
    if theme is None:
        return [] if part else [url("core", "plain.css")]
    base = [_themes[theme.base]] if theme.base else []
    return [
        url(one.name, name) for one in (*base, theme) for name in (one.sheets.get(part, ()) if part else sheets_of(one))
    ]


def sheets_of(theme: ThemeSpec) -> tuple[str, ...]:
    """What every page links of a theme: its one style sheet, or all of them as one."""
    return (ALL_SHEETS,) if len(theme.stylesheets) > 1 else theme.stylesheets


def preloads(look: str) -> list[str]:
    theme = theme_of(look)
    if theme is None:
        return []
    base = [_themes[theme.base]] if theme.base and not theme.preload else []
    return [url(one.name, name) for one in (*base, theme) for name in one.preload]


def source(root: str, name: str) -> str:
    """The text of a file, for who puts it into something else."""
    return _roots[root].files[name].body.decode()


def find(root: str, digest: str, name: str) -> StaticFile | None:
    """The file at an address, or None; another digest is another file."""
    found = _roots.get(root)
    if found is None or found.digest != digest:
        return None
    return found.files.get(name)
