"""What a theme may change, and what it may not: blocks, whole files of this very version, style sheets over a base."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chatserver_grove
import pytest

from chatserver import ThemeSpec, __version__
from chatserver.errors import SetupError
from chatserver.web import assets, templating, views

(GROVE,) = chatserver_grove.register_themes()


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    before = assets.themes()
    yield
    templating.install_themes(before)


def theme(
    folder: Path, files: dict[str, str], replaces: dict[str, str] | None = None, base: str = "grove"
) -> ThemeSpec:
    (folder / "static").mkdir()
    (folder / "static" / "mine.css").write_text(":root{--bg:red}")
    for name, text in files.items():
        path = folder / "templates" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return ThemeSpec(
        "mine",
        "Mine",
        str(folder / "static"),
        ("mine.css",),
        base=base,
        templates_dir=str(folder / "templates"),
        replaces=replaces or {},
    )


def sign_in(look: str) -> str:
    return templating.render("sign_in.html", frame=views.Frame(look=look), problem=None, email="", next="")


def test_a_block_takes_the_place_of_the_cores_in_that_look_only(tmp_path: Path) -> None:
    templating.install_themes([GROVE, theme(tmp_path, {"blocks/door.html": "<b>{{ _('Sign in') }} to mine</b>"})])
    assert "<b>Sign in to mine</b>" in sign_in("mine")
    assert "to mine" not in sign_in("grove") and 'class="logo"' in sign_in("grove")


def test_sheets_of_the_base_come_first(tmp_path: Path) -> None:
    templating.install_themes([theme(tmp_path, {}), GROVE])
    names = [href.rsplit("/", 1)[1] for href in assets.stylesheets("mine")]
    assert names == ["all.css", "mine.css"]
    assert [href.rsplit("/", 1)[1] for href in assets.stylesheets("mine", "pages")] == ["pages.css"]
    assert assets.preloads("mine") == assets.preloads("grove") != []


def test_an_unknown_look_is_the_default_one(tmp_path: Path) -> None:
    templating.install_themes([theme(tmp_path, {"blocks/door.html": "mine"}), GROVE])
    assert sign_in("gone") == sign_in("grove")


def test_a_theme_without_its_base_is_left_out(tmp_path: Path) -> None:
    templating.install_themes([GROVE, theme(tmp_path, {}, base="gone")])
    assert [one.name for one in assets.themes()] == ["grove"]


def test_a_whole_file_of_this_version_is_taken(tmp_path: Path) -> None:
    mine = theme(tmp_path, {"sign_in.html": "whole"}, {"sign_in.html": __version__})
    templating.install_themes([GROVE, mine])
    assert sign_in("mine") == "whole" and sign_in("grove") != "whole"


@pytest.mark.parametrize(
    ("files", "replaces", "why"),
    [
        ({"sign_in.html": "x"}, {"sign_in.html": "0.0.1"}, "a copy of version 0.0.1"),
        ({"sign_in.html": "x"}, {}, "is no named block"),
        ({"blocks/nothing.html": "x"}, {}, "is no named block"),
        ({"mine.html": "x"}, {"mine.html": __version__}, "is no named block"),
        ({}, {"sign_in.html": __version__}, "is no named block"),
    ],
)
def test_anything_else_is_refused_by_name(
    tmp_path: Path, files: dict[str, str], replaces: dict[str, str], why: str
) -> None:
    with pytest.raises(SetupError, match=f"The theme 'mine'.*{why}"):
        templating.install_themes([GROVE, theme(tmp_path, files, replaces)])
