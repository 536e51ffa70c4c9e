"""The words of the house in the reader's language: catalogues, plural forms, dates and numbers.

A request says once which language it speaks; everything below it, threads and tasks included, is then told in that one.
"""

from __future__ import annotations

import functools
import gettext as catalogues
import io
import re
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path

from babel import Locale
from babel.dates import format_date, format_skeleton
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

LANGUAGES = {"en": "English", "zh": "简体中文", "fr": "Français"}
"""What one may pick, each in its own words."""
MIRROR = "x-mirror"
"""A language nobody speaks, from right to left, with accents on all that is translated. Picked by hand only."""
DEFAULT = "en"
_LOCALES = {"en": "en", "zh": "zh_Hans", "fr": "fr", MIRROR: "en"}
_TAGS = {"zh": "zh-Hans", MIRROR: "ar"}
_WISH = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q=([01](?:\.\d{1,3})?))?\s*")
_WISHES = 20
_ACCENTS = str.maketrans("aceinosuyzACEINOSUYZ", "áçéíñóšúýžÁÇÉÍÑÓŠÚÝŽ")
_PLACES = re.compile(r"(\{[^}]*\}|%\([a-z_]+\)[sd]|<[^>]+>|&[a-z]+;)")

_spoken: ContextVar[str] = ContextVar("language", default=DEFAULT)
_folders: list[Path] = [Path(__file__).parent / "locale"]


def speak(language: str) -> None:
    """From here on, in this request and whatever it starts. What nobody has words for is English."""
    _spoken.set(language if language in _LOCALES else DEFAULT)


def language() -> str:
    return _spoken.get()


def tag() -> str:
    """The language as an HTML document names it."""
    return _TAGS.get(language(), language())


def direction() -> str:
    return "rtl" if language() == MIRROR else "ltr"


def knows(language: str) -> bool:
    """Whether somebody may ask for it."""
    return language in _LOCALES


@functools.lru_cache(maxsize=256)
def negotiate(header: str) -> str:
    """The language an Accept-Language header likes best among ours; the default when it likes none."""
    liked: list[tuple[float, int, str]] = []
    for place, wish in enumerate(header[:500].split(",")[:_WISHES]):
        found = _WISH.fullmatch(wish)
        if found and found[1].lower() in LANGUAGES and (quality := float(found[2] or 1)) > 0:
            liked.append((-quality, place, found[1].lower()))
    return min(liked, default=(0, 0, DEFAULT))[2]


def add_catalogues(folder: Path) -> None:
    """Take up a plugin's `<language>.po` files. A message both know is told in the words that came first."""
    if folder not in _folders:
        _folders.append(folder)
        _catalogue.cache_clear()


def gettext(message: str) -> str:
    """The message in the language that is spoken; as it stands where there is no translation."""
    return _catalogue(_spoken.get()).gettext(message) if message else ""


def ngettext(singular: str, plural: str, count: int) -> str:
    return _catalogue(_spoken.get()).ngettext(singular, plural, count)


def number_text(number: int) -> str:
    """With the separators of the language."""
    return format_decimal(number, locale=_locale())


def date_text(moment: datetime, skeleton: str) -> str:
    """A date by what it shows: `MMMd` is Mar 5, 5 mars or 3月5日, in the order and words of the language."""
    return format_skeleton(skeleton, moment, locale=_locale())


def month_text(moment: datetime) -> str:
    """The month alone, as a heading says it."""
    name = format_date(moment, "LLLL", locale=_locale())
    return name[:1].upper() + name[1:]


def _locale() -> Locale:
    return _read_locale(_LOCALES[_spoken.get()])


@functools.cache
def _read_locale(name: str) -> Locale:
    return Locale.parse(name)


@functools.cache
def _catalogue(language: str) -> catalogues.NullTranslations:
    """Read when the language is first spoken, from text: there is nothing to compile and nothing to forget."""
    if language == MIRROR:
        return _Mirror()
    spoken: catalogues.NullTranslations = catalogues.NullTranslations()
    for folder in _folders:
        path = folder / f"{language}.po"
        if not path.is_file():
            continue
        compiled = io.BytesIO()
        with path.open("rb") as file:
            write_mo(compiled, read_po(file, locale=_LOCALES[language]))
        compiled.seek(0)
        read = catalogues.GNUTranslations(compiled)
        if isinstance(spoken, catalogues.GNUTranslations):
            spoken.add_fallback(read)
        else:
            spoken = read
    return spoken


class _Mirror(catalogues.NullTranslations):
    """Every translated message with accents and brackets; what stands without them was never asked for here."""

    def gettext(self, message: str) -> str:
        pieces = _PLACES.split(message)
        return "".join(piece if place % 2 else piece.translate(_ACCENTS) for place, piece in enumerate(pieces))

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)
