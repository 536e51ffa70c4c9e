"""What every handler of the API asks of a request: who, which house, which Idempotency-Key."""

from __future__ import annotations

from typing import Any

from litestar import Request
from litestar.datastructures import State

from chatserver.chat.sending import IdempotencyKey
from chatserver.domain.access import Actor
from chatserver.errors import BadInput, Refused
from chatserver.house import House

ApiRequest = Request[Any, Any, State]


def actor_of(request: ApiRequest) -> Actor:
    """Who asks; 401 when nobody is signed in."""
    actor = request.scope["state"].get("actor")
    if not isinstance(actor, Actor):
        raise Refused("Sign in, or send a key: Authorization: Bearer KEY.", code="not_signed_in", status=401)
    return actor


def house_of(request: ApiRequest) -> House:
    house: House = request.app.state.house
    return house


async def idempotency_of(request: ApiRequest) -> IdempotencyKey | None:
    """The caller's Idempotency-Key with what it was sent for."""
    key = request.headers.get("idempotency-key", "")
    if not key:
        return None
    if len(key) > 200 or not key.isprintable():
        raise BadInput("An Idempotency-Key has at most 200 printable characters.", code="bad_idempotency_key")
    return IdempotencyKey(key, request.scope["path"].encode() + b"\n" + await request.body())
