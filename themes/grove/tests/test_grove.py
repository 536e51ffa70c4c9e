"""Grove says what it brings, and brings it: every file, every licence, and nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import chatserver_grove

(GROVE,) = chatserver_grove.register_themes()
FOLDER = Path(GROVE.static_dir)
SHEETS = [(FOLDER / name).read_text() for name in (*GROVE.stylesheets, *sum(GROVE.sheets.values(), ()))]


def test_every_named_file_is_there() -> None:
    for name in (*GROVE.stylesheets, *GROVE.preload):
        assert (FOLDER / name).is_file(), name


def test_every_font_carries_its_licence() -> None:
    fonts = sorted(FOLDER.glob("fonts/*.woff2"))
    assert len(fonts) == 3
    for font in fonts:
        licence = font.with_name(font.name.split("-latin")[0] + ".OFL.txt")
        assert "SIL Open Font License" in licence.read_text()


def test_sheets_ask_for_their_own_files_only() -> None:
    addresses = [address for sheet in SHEETS for address in re.findall(r"url\(([^)]+)\)", sheet)]
    assert len(addresses) == 3
    for address in addresses:
        assert (FOLDER / address).is_file(), address
    assert not any("@import" in sheet for sheet in SHEETS)


def test_every_property_that_is_used_is_a_token() -> None:
    used = {name for sheet in SHEETS for name in re.findall(r"var\((--[a-z0-9-]+)", sheet)}
    given = {name for sheet in SHEETS for name in re.findall(r"(--[a-z0-9-]+):", sheet)}
    assert used <= given, used - given


def test_fonts_swap_so_that_text_is_there_at_once() -> None:
    assert SHEETS[0].count("font-display:swap") == SHEETS[0].count("@font-face") == 3
