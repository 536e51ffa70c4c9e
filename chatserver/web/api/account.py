"""What an account may use and find: models, search, itself."""

from __future__ import annotations

import msgspec
from litestar import get
from litestar.params import FromQuery

from chatserver.web.api.request import ApiRequest, actor_of, house_of


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
async def search(request: ApiRequest, q: FromQuery[str] = "") -> HitList:
    """Places in one's own messages and titles that hold every word, the newest first."""
    hits = await house_of(request).conversations.search(actor_of(request), q)
    return HitList([HitOut(hit.conversation_id, hit.message_id or None, hit.text, hit.title) for hit in hits])


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
