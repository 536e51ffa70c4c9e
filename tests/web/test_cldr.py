"""Dates, numbers, sizes, durations and lists are written as Babel writes them, which stays out of the box."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from babel import Locale
from babel.dates import format_skeleton, get_month_names
from babel.lists import format_list
from babel.numbers import format_decimal, format_percent
from babel.units import format_unit

from chatserver import words
from chatserver.testing.server import Site
from chatserver.web import templating
from chatserver.web.views.attachments import size_text
from chatserver.web.views.times import seconds_text

ROOT = Path(__file__).resolve().parents[2]
LOCALES = {"en": "en", "zh": "zh_Hans", "fr": "fr"}
WHOLE = (0, 1, 9, 10, 99, 100, 999, 1000, 1001, 9999, 10_000, 123_456, 999_999, 1_000_000, 1_234_567_890, -5, -12_345)
BROKEN = (
    0.0,
    0.04,
    0.05,
    0.15,
    0.25,
    0.35,
    0.449,
    0.5,
    0.95,
    1.0,
    1.05,
    2.675,
    9.949,
    12.5,
    999.95,
    1234.56,
    98_765.4321,
)
NAMES = ("Ada", "Grace", "Édith", "李四", "Alan")


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest) -> Iterator[Locale]:
    words.speak(request.param)
    yield Locale.parse(LOCALES[request.param])
    words.speak("en")


def test_the_file_of_formats_is_what_babel_has() -> None:
    command = [sys.executable, "scripts/formats.py", "--check"]
    assert subprocess.run(command, cwd=ROOT).returncode == 0, "run scripts/formats.py"


def test_numbers(locale: Locale) -> None:
    for number in WHOLE:
        assert words.number_text(number) == format_decimal(number, locale=locale)
        for digits, pattern in ((1, "#,##0.#"), (2, "#,##0.##")):
            assert words.number_text(number, digits) == format_decimal(number, pattern, locale=locale)
    for part in BROKEN:
        for digits, pattern in ((0, "#,##0"), (1, "#,##0.#"), (2, "#,##0.##")):
            assert words.number_text(part, digits) == format_decimal(part, pattern, locale=locale), (part, digits)


def test_shares_of_a_hundred(locale: Locale) -> None:
    for share in (0, 0.004, 0.005, 0.015, 0.125, 0.3333, 0.5, 0.999, 0.9999, 1, 12.5):
        assert words.percent_text(share) == format_percent(share, locale=locale)
        tenths = locale.percent_formats[None].pattern.replace("0", "0.#")
        assert words.percent_text(share, 1) == format_percent(share, tenths, locale=locale)


def test_dates_and_hours(locale: Locale) -> None:
    for day in range(0, 1200, 7):
        moment = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=day, minutes=day * 11)
        for skeleton in ("Hm", "MMMd", "yMMMd", "yMMMM"):
            assert words.date_text(moment, skeleton) == format_skeleton(skeleton, moment, locale=locale)
        name = get_month_names("wide", "stand-alone", locale)[moment.month]
        assert words.month_text(moment).lower() == name.lower()


def test_lists(locale: Locale) -> None:
    for count in range(len(NAMES) + 1):
        names = NAMES[:count]
        assert words.list_text(names) == format_list(names, locale=locale)
    assert words.row_text(NAMES[:2]) == format_list(NAMES[:2], style="standard-narrow", locale=locale)
    assert words.row_text(NAMES) == words.row_text(("a", "b"))[1:-1].join(NAMES)
    assert words.row_text(()) == ""


def test_sizes_and_durations(locale: Locale) -> None:
    """English keeps the signs of the units, which its CLDR words (byte, sec) are not."""

    def told(number: float, unit: str, digits: int) -> str:
        number = round(number, digits) if digits else round(number)
        text = format_unit(number, unit, "short", locale=locale)
        return text.replace("sec", "s").replace("byte", "B").replace("kB", "KB") if locale.language == "en" else text

    for size in (0, 1, 999, 1000, 3_100, 9_940, 9_960, 45_678, 999_499):
        unit, by = ("digital-byte", 1) if size < 1000 else ("digital-kilobyte", 1000)
        if locale.language != "en" or size != 1:
            assert size_text(size).replace("Bs", "B") == told(size / by, unit, 1 if size < 9_950 else 0).replace(
                "Bs", "B"
            )
    for size in (999_500, 1_000_000, 2_340_000, 12_345_678, 1_234_567_890):
        assert size_text(size) == told(size / 1_000_000, "digital-megabyte", 1 if size < 9_950_000 else 0)
    for ms in (0, 40, 99):
        assert seconds_text(ms) == told(ms, "duration-millisecond", 0)
    for ms in (100, 840, 1000, 2_149, 9_949, 9_950, 30_400, 59_499):
        assert seconds_text(ms) == told(ms / 1000, "duration-second", 1 if ms < 9_950 else 0)


def test_sixty_seconds_are_a_minute() -> None:
    assert [seconds_text(ms) for ms in (59_499, 59_500, 60_000, 119_400, 119_600, 3_600_000)] == [
        "59 s",
        "1 min 0 s",
        "1 min 0 s",
        "1 min 59 s",
        "2 min 0 s",
        "60 min 0 s",
    ]


def test_whole_numbers_in_a_sentence_of_a_template_are_written_so_too() -> None:
    environment = templating.make_environment()
    template = environment.from_string(
        '{{ ngettext("%(num)s message", "%(num)s messages", many) }}'
        "|{% trans most=many, name=name %}{{ most }} {{ name }}{% endtrans %}"
    )
    words.speak("fr")
    assert template.render(many=12_000, name="<b>").replace("\u202f", " ") == "12 000 messages|12 000 &lt;b&gt;"
    words.speak("en")


async def test_a_page_in_french_has_its_decimal_comma(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    await ada.post("/settings/chatting", data={"language": "fr", "send_key": "enter"})
    sent = await ada.post("/api/files", files={"file": ("notes.txt", b"x" * 3_140, "text/plain")})
    assert sent.status_code == 201
    chip = await ada.get(f"/files/{sent.json()['id']}/chip")
    assert "3,1\u202fko" in chip.text
