"""The words of the house in the reader's language: catalogues, plural forms, dates and numbers.

A request says once which language it speaks; everything below it, threads and tasks included, is then told in that one.
"""

from __future__ import annotations

import functools
import gettext as catalogues
import re
from collections.abc import Sequence
from contextvars import ContextVar
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

from chatserver.cldr import WAYS, Ways

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


_spoken: ContextVar[str] = ContextVar("language", default=DEFAULT)
_folders: list[Path] = [Path(__file__).parent / "locale"]


def speak(language: str) -> None:
    """From here on, in this request and whatever it starts. What nobody has words for is English."""
    _spoken.set(language if knows(language) else DEFAULT)


def language() -> str:
    return _spoken.get()


def tag() -> str:
    """The language as an HTML document names it."""
    return _TAGS.get(language(), language())


def direction() -> str:
    return "rtl" if language() == MIRROR else "ltr"


def knows(language: str) -> bool:
    """Whether somebody may ask for it."""
    return language in WAYS or language == MIRROR


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


def number_text(number: int | float, digits: int = 0) -> str:
    """With the separators of the language, and no more than so many digits behind the decimal sign."""
    ways = _ways()
    step = Decimal(1).scaleb(-digits)
    whole, _, rest = f"{Decimal(str(number)).quantize(step, ROUND_HALF_EVEN):,f}".partition(".")
    rest = rest.rstrip("0")
    whole = "0" if whole == "-0" and not rest else whole
    return whole.replace(",", ways.group) + (ways.decimal + rest if rest else "")


def percent_text(share: float, digits: int = 0) -> str:
    """A share of one as so many of a hundred: 0.125 is 12.5% or 12,5 %."""
    return _ways().percent.format(number_text(float(Decimal(str(share)) * 100), digits))


def list_text(names: Sequence[str]) -> str:
    """As a sentence says them: a, b, and c."""
    ways = _ways()
    if len(names) < 3:
        return ways.lists[0].format(*names) if len(names) == 2 else "".join(names)
    text = ways.lists[1].format(names[0], names[1])
    for name in names[2:-1]:
        text = ways.lists[2].format(text, name)
    return ways.lists[3].format(text, names[-1])


def row_text(names: Sequence[str]) -> str:
    """One beside another, with nothing but the sign between: a, b, c."""
    return functools.reduce(_ways().narrow_list.format, names) if names else ""


def date_text(moment: datetime, skeleton: str) -> str:
    """A moment by what it shows, one of `Hm`, `MMMd`, `yMMMd`, `yMMMM`: `MMMd` is Mar 5, 5 mars or 3月5日."""
    ways, place = _ways(), moment.month - 1
    return ways.dates[skeleton].format(
        y=moment.year,
        M=moment.month,
        MMM=ways.short_months[place],
        MMMM=ways.months[place],
        d=moment.day,
        HH=f"{moment.hour:02}",
        mm=f"{moment.minute:02}",
    )


def month_text(moment: datetime) -> str:
    """The month alone, as a heading says it."""
    name = _ways().month_titles[moment.month - 1]
    return name[:1].upper() + name[1:]


def _ways() -> Ways:
    return WAYS.get(_spoken.get(), WAYS[DEFAULT])


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
