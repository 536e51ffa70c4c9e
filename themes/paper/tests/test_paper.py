"""Paper is tokens and two blocks: it invents no property, and asks for nothing from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import chatserver_grove
import chatserver_paper

(PAPER,) = chatserver_paper.register_themes()
(GROVE,) = chatserver_grove.register_themes()
SHEET = (Path(PAPER.static_dir) / "paper.css").read_text()
TOKENS = (Path(GROVE.static_dir) / "tokens.css").read_text()


def test_it_changes_tokens_of_its_base_and_nothing_else() -> None:
    assert (PAPER.base, PAPER.stylesheets, PAPER.replaces) == ("grove", ("paper.css",), {})
    given = set(re.findall(r"(--[a-z0-9-]+):", SHEET))
    assert given and given <= set(re.findall(r"(--[a-z0-9-]+):", TOKENS))
    assert re.findall(r"^[^ /}][^{]*(?={)", SHEET, re.MULTILINE) == [":root"]
    assert "url(" not in SHEET and "@import" not in SHEET


def test_it_fills_two_blocks() -> None:
    blocks = Path(PAPER.templates_dir) / "blocks"
    assert sorted(path.name for path in blocks.iterdir()) == ["brand.html", "hello.html"]
