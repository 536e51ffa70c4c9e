"""Which passwords are refused: too short, too long, or among those everybody tries first. No rules of composition."""

from __future__ import annotations

import functools
from importlib.resources import files

from chatserver import Refusal, number_text
from chatserver import gettext as _

MIN_LENGTH = 8
"""8, with 15 advised: NIST SP 800-63B-4 for a password beside other measures."""
MAX_LENGTH = 1024


def problem_with(password: str) -> Refusal | None:
    """Why this will not do as a password, or None."""
    advice = _("A short sentence of four or five words is easy to keep and hard to guess.")
    if len(password) < MIN_LENGTH:
        text = _("A password has at least {count} characters.").format(count=MIN_LENGTH)
        return Refusal("password_too_short", text, advice, status=400)
    if len(password) > MAX_LENGTH:
        text = _("A password has at most {count} characters.").format(count=number_text(MAX_LENGTH))
        return Refusal("password_too_long", text, status=400)
    if is_common(password):
        text = _("This password is among the first anybody tries.")
        return Refusal("password_too_common", text, advice, status=400)
    return None


def is_common(password: str) -> bool:
    """Whether it is on the list of common passwords, whatever its case."""
    return password.casefold() in _common()


@functools.cache
def _common() -> frozenset[str]:
    lines = (files("chatserver_password") / "common.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line.strip().casefold() for line in lines if line and not line.startswith("#"))
