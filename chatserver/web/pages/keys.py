"""The form that makes an API key: what was typed, read into what a key may do."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from chatserver.clock import now_us
from chatserver.domain.access import Account
from chatserver.errors import BadInput
from chatserver.words import gettext as _

DAY_US = 86_400 * 1_000_000
DAYS_MAX = 3_650
SCOPES = ("", "models.use", "chat.use")


class KeyForm(msgspec.Struct, frozen=True):
    """The fields as they were typed, to be shown again when something of them makes no sense."""

    name: str = ""
    scope: str = ""
    models: str = ""
    days: str = ""
    requests_per_minute: str = ""

    @property
    def is_narrow(self) -> bool:
        return bool(self.scope or self.models or self.days or self.requests_per_minute)


class KeyWish(msgspec.Struct, frozen=True):
    """What the key is to be."""

    account: Account
    name: str
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    expires_at: int | None
    requests_per_minute: int


def form_of_key(form: Mapping[str, str]) -> KeyForm:
    return KeyForm(
        form.get("name", "")[:60],
        form.get("scope", ""),
        form.get("models", "")[:2000],
        form.get("days", "").strip(),
        form.get("requests_per_minute", "").strip(),
    )


def read_key(typed: KeyForm, account: Account) -> KeyWish:
    """Raises BadInput with what to change."""
    if typed.scope not in SCOPES:
        raise BadInput(_("Pick what the key may be used for from the list."), status=422)
    days = _number(typed.days, DAYS_MAX, _("The days until a key ends are a whole number."))
    pace = _number(typed.requests_per_minute, 1_000_000, _("The requests per minute are a whole number."))
    return KeyWish(
        account,
        typed.name,
        (typed.scope,) if typed.scope else (),
        tuple(dict.fromkeys(name.strip() for name in typed.models.split(",") if name.strip())),
        now_us() + days * DAY_US if days else None,
        pace,
    )


def _number(text: str, most: int, problem: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or len(text) > 9 or int(text) > most:
        raise BadInput(problem, status=422)
    return int(text)
