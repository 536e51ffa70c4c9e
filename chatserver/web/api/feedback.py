"""Feedback over the API: what one thinks of a reply, read, said and taken back."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import delete, get, put
from litestar.params import FromPath, JSONBody

from chatserver.domain.feedback import Feedback
from chatserver.web.api.request import ApiRequest, actor_of, house_of


class FeedbackIn(msgspec.Struct, forbid_unknown_fields=True):
    """value: good or bad. tags: correct, clear, complete, well_written of a good reply; wrong, incomplete, off_topic,
    not_followed, too_long, harmful of a bad one. reason: in one's own words."""

    value: str
    tags: list[str] = []
    reason: str = ""


class FeedbackOut(msgspec.Struct):
    """value null: nothing was said."""

    value: Literal["good", "bad"] | None
    tags: tuple[str, ...] = ()
    reason: str = ""
    changed_at: int | None = None


def _out(said: Feedback | None) -> FeedbackOut:
    return FeedbackOut(None) if said is None else FeedbackOut(said.value, said.tags, said.reason, said.changed_at)


@get("/messages/{message_id:str}/feedback")
async def get_feedback(request: ApiRequest, message_id: FromPath[str]) -> FeedbackOut:
    _, said = await house_of(request).feedback.read(actor_of(request), message_id)
    return _out(said)


@put("/messages/{message_id:str}/feedback")
async def give_feedback(request: ApiRequest, message_id: FromPath[str], data: JSONBody[FeedbackIn]) -> FeedbackOut:
    """Say what one thinks of a reply, in place of what one said before."""
    box = house_of(request).feedback
    return _out(await box.give(actor_of(request), message_id, data.value, tags=data.tags, reason=data.reason))


@delete("/messages/{message_id:str}/feedback", status_code=204)
async def take_feedback_back(request: ApiRequest, message_id: FromPath[str]) -> None:
    await house_of(request).feedback.take_back(actor_of(request), message_id)


route_handlers = (
    get_feedback,
    give_feedback,
    take_feedback_back,
)
