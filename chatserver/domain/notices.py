"""A notice is a sentence for the admins that stays until one of them has read it, or until it is no longer true."""

from __future__ import annotations

from typing import Literal

import msgspec

NoticeLevel = Literal["info", "warning", "error"]
KEY_LIMIT = 200
SENTENCE_LIMIT = 1_000
NOTICES_LIMIT = 100
"""How many one source may have at once; the oldest makes room."""


class Notice(msgspec.Struct, frozen=True):
    """source: the plugin that tells it, '' for the core. key: what it is about, so that telling it again replaces it.

    sentence: in English, with `%(name)s` for each of `values`, so that it can be read in the reader's language.
    told_at: microseconds UTC, when it was first told in these words. read_at: when an admin put it away.
    """

    source: str
    key: str
    level: NoticeLevel
    sentence: str
    values: dict[str, str]
    told_at: int
    read_at: int | None = None


def fill_in(sentence: str, values: dict[str, str]) -> str:
    """The sentence with its values. One that does not fit its values is shown as it stands."""
    try:
        return sentence % values if values else sentence
    except (KeyError, ValueError, TypeError):
        return sentence
