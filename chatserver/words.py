"""The words of the house in the reader's language: catalogues, plural forms, dates and numbers.

A request says once which language it speaks; everything below it, threads and tasks included, is then told in that one.
"""

from __future__ import annotations

import functools
import gettext as catalogues
import re
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

LANGUAGES = {"en": "English", "zh": "简体中文", "fr": "Français"}
"""What one may pick, each in its own words."""
MIRROR = "x-mirror"
"""A language nobody speaks, from right to left, with accents on all that is translated. Picked by hand only."""
DEFAULT = "en"
_TAGS = {"zh": "zh-Hans", MIRROR: "ar"}
_WISH = re.compile(r"\s*([A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*\s*(?:;\s*q=([01](?:\.\d{1,3})?))?\s*")
_WISHES = 20
_ACCENTS = str.maketrans("aceinosuyzACEINOSUYZ", "áçéíñóšúýžÁÇÉÍÑÓŠÚÝŽ")
_PLACES = re.compile(r"(\{[^}]*\}|%\([a-z_]+\)[sd]|<[^>]+>|&[a-z]+;)")


class _Ways(NamedTuple):
    """How a language writes dates and numbers, as the CLDR has it: its months, and `{d}`, `{m}`, `{y}` by skeleton."""

    months: tuple[str, ...]
    short_months: tuple[str, ...]
    dates: dict[str, str]
    thousands: str


_ENGLISH = _Ways(
    tuple("January February March April May June July August September October November December".split()),
    tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()),
    {"MMMd": "{short} {d}", "yMMMd": "{short} {d}, {y}", "yMMMM": "{month} {y}"},
    ",",
)
_WAYS = {
    "en": _ENGLISH,
    "zh": _Ways(
        tuple("一月 二月 三月 四月 五月 六月 七月 八月 九月 十月 十一月 十二月".split()),
        tuple(f"{month}月" for month in range(1, 13)),
        {"MMMd": "{short}{d}日", "yMMMd": "{y}年{short}{d}日", "yMMMM": "{y}年{short}"},
        ",",
    ),
    "fr": _Ways(
        tuple("janvier février mars avril mai juin juillet août septembre octobre novembre décembre".split()),
        tuple("janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.".split()),
        {"MMMd": "{d} {short}", "yMMMd": "{d} {short} {y}", "yMMMM": "{month} {y}"},
        "\u202f",
    ),
    MIRROR: _ENGLISH,
}

_spoken: ContextVar[str] = ContextVar("language", default=DEFAULT)
_folders: list[Path] = [Path(__file__).parent / "locale"]


def speak(language: str) -> None:
    """From here on, in this request and whatever it starts. What nobody has words for is English."""
    _spoken.set(language if language in _WAYS else DEFAULT)


def language() -> str:
    return _spoken.get()


def tag() -> str:
    """The language as an HTML document names it."""
    return _TAGS.get(language(), language())


def direction() -> str:
    return "rtl" if language() == MIRROR else "ltr"


def knows(language: str) -> bool:
    """Whether somebody may ask for it."""
    return language in _WAYS


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
    """Take up a plugin's `<language>.mo` files. A message both know is told in the words that came first."""
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
    return f"{number:,}".replace(",", _ways().thousands)


def date_text(moment: datetime, skeleton: str) -> str:
    """A date by what it shows, one of `MMMd`, `yMMMd`, `yMMMM`: `MMMd` is Mar 5, 5 mars or 3月5日."""
    ways, place = _ways(), moment.month - 1
    return ways.dates[skeleton].format(
        d=moment.day, y=moment.year, month=ways.months[place], short=ways.short_months[place]
    )


def month_text(moment: datetime) -> str:
    """The month alone, as a heading says it."""
    name = _ways().months[moment.month - 1]
    return name[:1].upper() + name[1:]


def _ways() -> _Ways:
    return _WAYS[_spoken.get()]


@functools.cache
def _catalogue(language: str) -> catalogues.NullTranslations:
    """Read when the language is first spoken."""
    if language == MIRROR:
        return _Mirror()
    spoken: catalogues.NullTranslations = catalogues.NullTranslations()
    for folder in _folders:
        path = folder / f"{language}.mo"
        if not path.is_file():
            continue
        with path.open("rb") as file:
            read = catalogues.GNUTranslations(file)
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
