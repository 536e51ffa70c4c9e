"""What an account may use and find: models, search, itself."""

from __future__ import annotations

from typing import Literal

import msgspec
from litestar import get
from litestar.params import FromQuery

from chatserver.domain.filing import SearchFilter
from chatserver.web.api.request import ApiRequest, actor_of, house_of
from chatserver.web.days import day_end_us, day_start_us

HITS = 50


class ModelOut(msgspec.Struct):
    id: str
    name: str
    context_tokens: int
    abilities: tuple[str, ...]
    demo: bool


class ModelList(msgspec.Struct):
    models: list[ModelOut]


class HitOut(msgspec.Struct):
    conversation_id: str
    message_id: str | None
    text: str
    title: str


class HitList(msgspec.Struct):
    hits: list[HitOut]
    next: int | None


class AccountOut(msgspec.Struct):
    id: str
    email: str
    name: str
    role: str
    groups: tuple[str, ...]
    origin: str


@get("/models", opt={"permission": "models.use"})
async def list_models(request: ApiRequest) -> ModelList:
    """The models one may use, demo models last."""
    models = house_of(request).models(actor_of(request))
    return ModelList([ModelOut(m.id, m.title, m.context_tokens, m.abilities, m.is_demo) for m in models])


@get("/search")
async def search(
    request: ApiRequest,
    q: FromQuery[str] = "",
    model: FromQuery[str] = "",
    role: FromQuery[Literal["", "user", "assistant"]] = "",
    folder: FromQuery[str] = "",
    tag: FromQuery[str] = "",
    after_date: FromQuery[str] = "",
    before_date: FromQuery[str] = "",
    cursor: FromQuery[int] = 0,
) -> HitList:
    """Places in one's own messages and titles that hold every word, the newest first. after_date, before_date: days as
    2026-11-26, UTC, both included. cursor: `next` of the page before."""
    wanted = SearchFilter(model, role, folder, tag, day_start_us(after_date), day_end_us(before_date))
    hits = await house_of(request).conversations.search(actor_of(request), q, HITS, wanted, cursor)
    following = hits[-1].cursor if len(hits) == HITS else None
    shown = [HitOut(hit.conversation_id, hit.message_id or None, hit.text, hit.title) for hit in hits]
    return HitList(shown, following)


@get("/account", opt={"permission": ""})
async def get_account(request: ApiRequest) -> AccountOut:
    actor = actor_of(request)
    account = actor.account
    return AccountOut(account.id, account.email, account.name, account.role, account.groups, actor.origin)


route_handlers = (
    list_models,
    search,
    get_account,
)
