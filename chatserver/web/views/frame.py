"""What every page is handed: who looks, in which look; and what went wrong."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Account
from chatserver.words import gettext as _


class Problem(msgspec.Struct, frozen=True):
    """Something that went wrong, and what to do next. href and action: a link that helps, when there is one."""

    title: str
    text: str
    code: str = ""
    href: str = ""
    action: str = ""


class Me(msgspec.Struct, frozen=True):
    """Who is signed in, as the foot of the sidebar shows it. mark: tells this account from others in one browser."""

    name: str
    initials: str
    email: str
    is_admin: bool = False
    mark: str = ""


class Frame(msgspec.Struct, frozen=True):
    """What every page needs: language, theme, who looks, and the token that proves a form is ours.

    density: `compact`; text: `small`, `large`, `larger`; motion: `less`; send_key: `ctrl_enter`; each '' for the usual.
    upload_mb: how large a file may be, 0 for any size.
    """

    theme: str = "system"
    look: str = "grove"
    csrf: str = ""
    me: Me | None = None
    timezone: str = ""
    side: str = ""
    density: str = ""
    text: str = ""
    motion: str = ""
    send_key: str = ""
    upload_mb: int = 0
    is_plain_http: bool = False


def me_of(account: Account, is_admin: bool | None = None) -> Me:
    name = account.name or account.email.split("@")[0]
    words = [word for word in name.replace(".", " ").replace("_", " ").split() if word]
    initials = (words[0][0] + words[-1][0] if len(words) > 1 else name[:2]).upper()
    is_admin = account.role == "admin" if is_admin is None else is_admin
    return Me(name, initials, account.email, is_admin, account.id[-12:])


def problem_title(code: str) -> str:
    """A few words for an error's code; empty for one nobody has words for."""
    titles = {
        "upstream_key_refused": _("The model's key was refused"),
        "upstream_pair_refused": _("This key may not use this model"),
        "upstream_rate_limit": _("The model is busy"),
        "upstream_overloaded": _("The model is busy"),
        "upstream_timeout": _("The model took too long"),
        "upstream_connect": _("The model cannot be reached"),
        "upstream_too_long": _("This chat is longer than the model's window"),
        "upstream_content": _("The model declined to answer"),
        "upstream_not_found": _("The model is not there any more"),
        "no_model": _("No model is connected yet"),
        "unknown_model": _("The model is not there any more"),
        "reply_running": _("An answer is still being written"),
        "turns_per_account": _("Several answers are still being written"),
        "turns_per_node": _("This server is busy"),
        "draining": _("Back in a moment"),
        "csrf": _("This page is from an earlier session"),
        "file_type": _("This kind of file is not taken"),
        "empty_file": _("The file is empty"),
        "upload_mb": _("The file is too large"),
        "storage_mb": _("There is no space left for files"),
        "files_per_account": _("There is no space left for files"),
        "uploads_at_once": _("Too many files at once"),
        "too_many_files": _("Too many files at once"),
        "too_many_pixels": _("The picture is too large"),
        "damaged_picture": _("The picture cannot be opened"),
        "slow_picture": _("The picture cannot be opened"),
        "text_too_long": _("The text is too long"),
        "model_sees_no_images": _("This model sees no pictures"),
        "files_too_long": _("The files are longer than the model reads"),
        "content_missing": _("The file’s content is missing"),
    }
    return titles.get(code, "")


def no_model() -> Problem:
    return Problem(
        _("No model is connected yet"),
        _("Put a provider's API key into the environment, or a [[channels]] table into chatserver.toml, then restart."),
        code="no_model",
    )
