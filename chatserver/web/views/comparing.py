"""Several replies to one question, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from chatserver.domain.models import Model
from chatserver.web.views.messages import MessageView
from chatserver.words import ngettext


class Column(msgspec.Struct, frozen=True):
    """One answer. name: of its model, told apart where one model answers twice."""

    message: MessageView
    name: str


class ComparisonView(msgspec.Struct, frozen=True):
    """action: where to ask for more of them. room: how many more fit. next_model: the first that was not asked.
    going_on: whose answer the next message goes below. shown: the replies in order, as the address names them."""

    action: str
    columns: tuple[Column, ...] = ()
    room: int = 0
    next_model: str = ""
    going_on: str = ""

    @property
    def shown(self) -> str:
        return ",".join(column.message.id for column in self.columns)

    @property
    def title(self) -> str:
        count = len(self.columns)
        return ngettext("{count} answer", "{count} answers", count).format(count=count)


def comparison_view(
    conversation_id: str,
    question_id: str,
    replies: Sequence[MessageView],
    *,
    kept: str | None,
    models: Sequence[Model],
    at_most: int,
) -> ComparisonView:
    """kept: the reply the conversation goes on below."""
    authors = [reply.author for reply in replies]
    columns = []
    for at, reply in enumerate(replies):
        nth = authors[: at + 1].count(reply.author)
        is_twice = authors.count(reply.author) > 1
        columns.append(Column(reply, f"{reply.author} · {nth}" if is_twice else reply.author))
    asked = {reply.model for reply in replies}
    return ComparisonView(
        comparison_href(conversation_id, question_id),
        tuple(columns),
        room=max(0, at_most - len(columns)),
        next_model=next((model.id for model in models if model.id not in asked), ""),
        going_on=next((column.name for column in columns if column.message.id == kept), ""),
    )


def comparison_href(conversation_id: str, question_id: str, shown: Sequence[str] = ()) -> str:
    """The address of a comparison: of the replies named, else of the last few."""
    query = f"?with={','.join(shown)}" if shown else ""
    return f"/c/{conversation_id}/{question_id}/compare{query}"
