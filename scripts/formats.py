"""Write chatserver/cldr.py: how our languages write dates, numbers, percentages and lists, out of Babel's CLDR data.

python scripts/formats.py            # write it anew, after a new Babel or a new language
python scripts/formats.py --check    # change nothing; exit 1 when it says something else than Babel
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from babel import Locale

FILE = Path(__file__).resolve().parent.parent / "chatserver" / "cldr.py"
LOCALES = {"en": "en", "zh": "zh_Hans", "fr": "fr"}
SKELETONS = ("Hm", "MMMd", "yMMMd", "yMMMM")
_FIELD = re.compile(r"y|M{1,4}|d|HH|mm")
HEAD = '''"""How each language writes dates, numbers and lists: the CLDR's data, written by `scripts/formats.py`."""

from __future__ import annotations

from typing import NamedTuple


class Ways(NamedTuple):
    """One language. dates: by skeleton, with the letters of the CLDR's fields as places. lists: two; first and
    second; those between; all and the last."""

    months: tuple[str, ...]
    short_months: tuple[str, ...]
    month_titles: tuple[str, ...]
    dates: dict[str, str]
    decimal: str
    group: str
    percent: str
    lists: tuple[str, str, str, str]
    narrow_list: str


'''


def ways_of(locale: Locale) -> dict[str, object]:
    numbers = locale.number_symbols["latn"]
    lists, narrow = locale.list_patterns["standard"], locale.list_patterns["standard-narrow"]
    return {
        "months": _months(locale, "format", "wide"),
        "short_months": _months(locale, "format", "abbreviated"),
        "month_titles": _months(locale, "stand-alone", "wide"),
        "dates": {name: _FIELD.sub(r"{\g<0>}", locale.datetime_skeletons[name].pattern) for name in SKELETONS},
        "decimal": numbers["decimal"],
        "group": numbers["group"],
        "percent": locale.percent_formats[None].pattern.replace("#,##0", "{0}"),
        "lists": (lists["2"], lists["start"], lists["middle"], lists["end"]),
        "narrow_list": narrow["end"],
    }


def text() -> str:
    lines = [HEAD + "WAYS = {"]
    for language, name in LOCALES.items():
        lines.append(f'    "{language}": Ways(')
        for field, value in ways_of(Locale.parse(name)).items():
            lines.append(f"        {field}={_source(value)},")
        lines.append("    ),")
    return "\n".join([*lines, "}", ""])


def _months(locale: Locale, use: str, width: str) -> tuple[str, ...]:
    return tuple(locale.months[use][width][number] for number in range(1, 13))


def _source(value: object) -> str:
    """As ruff would format it; signs that cannot be seen are written by their number."""
    if isinstance(value, str):
        return re.sub("[\u00a0\u202f]", lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_source(key)}: {_source(one)}" for key, one in value.items()) + "}"
    assert isinstance(value, tuple)
    line = "(" + ", ".join(_source(one) for one in value) + ")"
    if sum(2 if sign > "\u2e80" else 1 for sign in line) < 98:
        return line
    return "(\n" + "".join(f"            {_source(one)},\n" for one in value) + "        )"


def main(checks: bool) -> int:
    if checks:
        return 0 if FILE.read_text() == text() else 1
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main("--check" in sys.argv))
