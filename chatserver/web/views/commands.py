"""The one list of what is done by a key or from the palette; the script, the palette and the sheet read it."""

from __future__ import annotations

import msgspec

from chatserver.words import gettext as _


class Command(msgspec.Struct, frozen=True):
    """href: a page it leads to; press: the element it presses, by selector, where there is one on the page.

    keys: as `mod+shift+o`, mod being Ctrl or ⌘; '' for none. With neither href nor press the script knows what to do.
    is_listed: offered by the palette. admins: only to them.
    """

    id: str
    label: str
    keys: str = ""
    href: str = ""
    press: str = ""
    icon: str = ""
    is_listed: bool = True
    admins: bool = False


class Hint(msgspec.Struct, frozen=True):
    """A key that belongs to the place one is in, for the sheet only."""

    keys: str
    label: str


def commands() -> tuple[Command, ...]:
    """A further command is one line here, and needs no script when it leads to a page or presses a button."""
    return (
        Command("new", _("New chat"), "mod+shift+o", "/", icon="square-pen"),
        Command("palette", _("Find a chat or a command"), "mod+k", is_listed=False),
        Command("map", _("Branch map"), "alt+m", press="#open-panel", icon="network"),
        Command("previous", _("Previous version"), "alt+arrowleft", is_listed=False),
        Command("next", _("Next version"), "alt+arrowright", is_listed=False),
        Command("rename", _("Rename this chat"), "f2", icon="pencil"),
        Command("share", _("Share this chat"), press='.menu-list [formaction$="/share"]', icon="share-2"),
        Command("export", _("Export this chat"), press='.menu-list [formaction$="/about/export"]', icon="download"),
        Command("filing", _("Folder and tags"), press='.menu-list [formaction$="/filing"]', icon="folder"),
        Command("archive", _("Archive this chat"), press='.menu-list [formaction$="/archive"]', icon="archive"),
        Command("tuning", _("Chat settings"), press="#tuned button", icon="sliders-horizontal"),
        Command("delete", _("Delete this chat"), press='.menu-list [formaction$="/about/delete"]', icon="trash-2"),
        Command("temporary", _("Temporary chat"), href="/?temporary=1", icon="message-square-dashed"),
        Command("chats", _("All chats"), href="/chats", icon="message-square"),
        Command("archived", _("Archived"), href="/chats?archived=1", icon="archive"),
        Command("search", _("Search"), href="/search", icon="search"),
        Command("shares", _("Shared links"), href="/shares", icon="link"),
        Command("data", _("My data"), href="/settings/data", icon="download"),
        Command("theme", _("Switch between light and dark"), icon="moon"),
        Command("settings", _("Settings"), href="/settings", icon="settings"),
        Command("console", _("Console"), href="/admin", icon="layout-dashboard", admins=True),
        Command("connect", _("Connect a model"), href="/welcome", icon="plus", admins=True),
        Command("shortcuts", _("Keyboard shortcuts"), "?", icon="key-round"),
    )


def hints() -> tuple[Hint, ...]:
    return (
        Hint("enter", _("Send, or a new line, as you chose in Settings")),
        Hint("shift+enter", _("New line")),
        Hint("esc", _("Close what is open, else stop the answer")),
        Hint("mod+enter", _("Save an edit")),
        Hint("/", _("Pick a preset, at the start of a message")),
        Hint("arrowup arrowdown", _("Walk through the map, a list of models, the palette")),
    )


_SYMBOLS = {"arrowleft": "←", "arrowright": "→", "arrowup": "↑", "arrowdown": "↓", "enter": "↵", "shift": "⇧"}


def key_names(keys: str, *, is_mac: bool = False) -> tuple[str, ...]:
    """The caps to press, as they are written on the keyboard."""
    own = {"mod": "⌘" if is_mac else "Ctrl", "alt": "⌥" if is_mac else "Alt", "esc": "Esc"}
    parts = [part for chord in keys.split() for part in chord.split("+")]
    return tuple(own.get(part) or _SYMBOLS.get(part) or part.upper() for part in parts)


def bound_keys() -> str:
    """Every key of the list as JSON, for the script: chord to command."""
    return msgspec.json.encode({one.keys: one.id for one in commands() if one.keys}).decode()
