"""What the admins were told, as the page shows it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo

import msgspec

from chatserver.domain.notices import Notice, fill_in
from chatserver.web.views.times import moment_of, when_text
from chatserver.words import gettext as _


class NoticeView(msgspec.Struct, frozen=True):
    """about: who tells it and since when."""

    source: str
    key: str
    level: str
    text: str
    about: str


def sentence_of(notice: Notice) -> str:
    """In the reader's language."""
    return fill_in(_(notice.sentence), notice.values)


def notice_views(notices: Iterable[Notice], *, now_us: int, zone: tzinfo | None) -> tuple[NoticeView, ...]:
    today = moment_of(now_us, zone)
    return tuple(
        NoticeView(
            one.source,
            one.key,
            one.level,
            sentence_of(one),
            f"{one.source or 'chatserver'} · {when_text(one.told_at, today, zone)}",
        )
        for one in notices
    )
