"""Feedback in words."""

from __future__ import annotations

from chatserver.words import gettext as _


def tag_text(tag: str) -> str:
    """What a tag says to the person who picks it."""
    texts = {
        "correct": _("Correct"),
        "clear": _("Clear"),
        "complete": _("Complete"),
        "well_written": _("Well written"),
        "wrong": _("Wrong"),
        "incomplete": _("Incomplete"),
        "off_topic": _("Beside the point"),
        "not_followed": _("Did not do what I asked"),
        "too_long": _("Too long"),
        "harmful": _("Harmful"),
    }
    return texts.get(tag, tag)
