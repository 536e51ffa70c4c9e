"""The console's navigation: its own pages, then those that plugins bring."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.extend import NavItem
from chatserver.words import gettext as _


class ConsoleEntry(msgspec.Struct, frozen=True):
    """A page in the navigation. count: what waits there, 0 for nothing."""

    label: str
    href: str
    icon: str
    count: int = 0


class Console(msgspec.Struct, frozen=True):
    """here: the address of the entry one stands on, '' when it is none of them."""

    own: tuple[ConsoleEntry, ...]
    more: tuple[NavItem, ...]
    here: str


def own_entries(notices: int) -> tuple[ConsoleEntry, ...]:
    """A further page of the core is one line here. notices: how many wait."""
    return (
        ConsoleEntry(_("Overview"), "/admin", "layout-dashboard"),
        ConsoleEntry(_("Models"), "/admin/models", "layers"),
        ConsoleEntry(_("Channels"), "/admin/channels", "network"),
        ConsoleEntry(_("Accounts"), "/admin/accounts", "users"),
        ConsoleEntry(_("Plugins"), "/admin/plugins", "puzzle"),
        ConsoleEntry(_("Settings"), "/admin/settings", "settings"),
        ConsoleEntry(_("Audit"), "/admin/audit", "shield-check"),
        ConsoleEntry(_("Notices"), "/admin/notices", "bell", notices),
    )


def console_of(path: str, notices: int, more: Sequence[NavItem]) -> Console:
    """more: what plugins bring. path: where one stands; the entry whose address it begins with is the current one."""
    own = own_entries(notices)
    hrefs = [entry.href for entry in own] + [item.href for item in more]
    above = [href for href in hrefs if path.rstrip("/") == href.rstrip("/") or _is_below(path, href)]
    return Console(own, tuple(more), max(above, key=len, default=""))


def _is_below(path: str, href: str) -> bool:
    return href != "/admin" and path.startswith(href.rstrip("/") + "/")
