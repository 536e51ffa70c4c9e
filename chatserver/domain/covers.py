"""Cards that stand in a message for a stretch of its text, such as a long block that is looked at beside the chat."""

from __future__ import annotations

import msgspec

from chatserver.domain.access import Account
from chatserver.domain.messages import Message


class CoverContext(msgspec.Struct, frozen=True):
    """What is about to be shown: finished replies in the order of the page, to whom, in which language.

    is_shared: on the page of a share, to anybody, of whom nothing is known; account is its owner's, and a card leads
    nowhere.
    """

    account: Account
    conversation_id: str
    messages: tuple[Message, ...]
    language: str = "en"
    is_shared: bool = False


class Cover(msgspec.Struct, frozen=True):
    """A card for the characters from start up to end of a message's text, which fold behind it as source.

    source, language: what is folded away, as a block of code. title, note: the card's two lines. href: what it opens
    beside the chat, answered with the panel for htmx, with a page for everybody else; '' for nothing. icon: of the
    house's own.
    """

    message_id: str
    start: int
    end: int
    source: str
    title: str
    href: str
    language: str = ""
    note: str = ""
    icon: str = "panel-right"
