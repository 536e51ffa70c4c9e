"""An address of its own outside `/x/`, where a plugin speaks as another service does, to programs with a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec


class WrittenError(msgspec.Struct, frozen=True):
    """An error as the imitated service would say it: a status and a JSON body."""

    status: int
    body: bytes


class Endpoint(msgspec.Struct, frozen=True):
    """Raw ASGI at exactly `path`; one that ends in a slash takes all that is below it, too.

    Only an API key opens it, never a cookie; `scope["state"]["actor"]` is whose key it is, and has `permission`.
    key_header: a header that may hold the key instead of `Authorization`. write_error: given a ChatserverError and
    the request's id; used for whatever goes wrong, at the door or inside. id_header: where that service tells the
    request's id, which stands in `X-Request-Id` all the same.
    """

    path: str
    app: Callable[..., Awaitable[None]]
    write_error: Callable[[Any, str], WrittenError]
    methods: tuple[str, ...] = ("POST",)
    permission: str = "models.use"
    body_max_bytes: int = 1_048_576
    key_header: str = ""
    id_header: str = ""
