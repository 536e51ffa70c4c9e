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


def read_root(name: str, folder: Path) -> Root:
    """Every file below a folder of a kind we know; anything else is not served."""
    files = {}
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        media_type = MEDIA_TYPES.get(path.suffix)
        if media_type is None or not path.is_file():
            continue
        body = path.read_bytes()
        relative = path.relative_to(folder).as_posix()
        digest.update(relative.encode() + b"\0" + body)
        packed = b"" if path.suffix in (".woff2", ".png") else gzip.compress(body, 9, mtime=0)
        files[relative] = StaticFile(body, packed if len(packed) < len(body) else b"", media_type)
    return Root(name, digest.hexdigest()[:12], files)


_roots: dict[str, Root] = {"core": read_root("core", STATIC)}
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
        _roots[theme.name] = read_root(theme.name, Path(theme.static_dir))


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
        url(one.name, name)
        for one in (*base, theme)
        for name in (one.sheets.get(part, ()) if part else one.stylesheets)
    ]


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
