"""The settings of the house as the console shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from chatserver.domain.house_settings import SettingLine
from chatserver.words import gettext as _


class SettingView(msgspec.Struct, frozen=True):
    """id: for the page. key: as the section's part of the file writes it. field: how it is changed, text | number |
    choice; '' where it is not. typed: what the field holds. source_text: where the value comes from."""

    id: str
    name: str
    key: str
    help: str
    value: str
    source_text: str
    source: str
    field: str
    typed: str
    choices: tuple[str, ...]
    least: str
    most: str
    step: str
    is_wrong: bool


class SettingSection(msgspec.Struct, frozen=True):
    title: str
    settings: tuple[SettingView, ...]


def setting_sections(lines: Sequence[SettingLine], typed: Mapping[str, str]) -> tuple[SettingSection, ...]:
    """typed: what was sent and not taken, by name."""
    sections: dict[str, list[SettingView]] = {}
    for one in lines:
        sections.setdefault(_title_of(one), []).append(_view(one, typed))
    return tuple(SettingSection(title, tuple(views)) for title, views in sections.items())


def _title_of(line: SettingLine) -> str:
    if line.plugin:
        return line.plugin
    return _("Limits") if line.name.startswith("limits.") else _("Server")


def _view(line: SettingLine, typed: Mapping[str, str]) -> SettingView:
    is_changed_here = line.is_live and not line.is_locked
    choices = ("true", "false") if line.kind == "boolean" else line.choices
    is_limit = line.name.startswith("limits.")
    return SettingView(
        f"set-{line.name.replace('.', '-')}",
        line.name,
        line.name.split(".", 2)[2] if line.plugin else line.name.removeprefix("limits."),
        _(line.help),
        _shown(line),
        _source_text(line),
        line.source,
        ("choice" if choices else line.kind) if is_changed_here else "",
        typed.get(line.name, line.value),
        choices,
        "" if line.least is None else f"{line.least:g}",
        "" if line.most is None else f"{line.most:.0f}",
        "1" if is_limit else "any",
        line.name in typed,
    )


def _shown(line: SettingLine) -> str:
    if line.kind == "secret":
        return _("set") if line.is_set else _("not set")
    if line.name.startswith("limits.") and line.value == "0":
        return _("no limit")
    return line.value or _("empty")


def _source_text(line: SettingLine) -> str:
    texts = {
        "option": _("command line"),
        "environment": line.where,
        "file": line.where,
        "console": _("set here"),
        "default": _("default"),
    }
    return texts[line.source]
