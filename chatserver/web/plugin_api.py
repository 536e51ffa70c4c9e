"""A plugin's address for programs: who may ask is decided here, and what comes back is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qs

import msgspec

from chatserver.domain.access import Actor
from chatserver.domain.api import ApiAnswer
from chatserver.domain.extend import Route
from chatserver.errors import BadInput, Refused
from chatserver.web import bodies

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class PluginCall:
    """A visit as `chatserver.ApiVisit` promises it."""

    def __init__(self, actor: Actor, scope: dict[str, Any], headers: dict[bytes, bytes], body: bytes) -> None:
        self.actor = actor
        self.path: Mapping[str, str] = scope["path_params"]
        text = scope.get("query_string", b"").decode("latin-1")
        self._query = parse_qs(text, keep_blank_values=True, encoding="utf-8", errors="replace")
        self.query: Mapping[str, str] = {name: values[-1] for name, values in self._query.items()}
        self.headers: Mapping[str, str] = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()
        }
        self.origin = f"{scope.get('scheme', 'http')}://{self.headers.get('host', '')}"
        self._body = body

    def listed(self, name: str) -> list[str]:
        return self._query.get(name, [])

    def read(self, shape: type[T]) -> T:
        try:
            return msgspec.json.decode(self._body, type=shape)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadInput(
                "The request cannot be read: %(why)s.", code="bad_input", status=422, values={"why": str(error)}
            ) from None


async def serve(route: Route, scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Ask a plugin, and send what it answers. Raises Refused, ProofNeeded, and what the plugin raises."""
    assert route.api is not None
    actor = scope["state"].get("actor")
    if not isinstance(actor, Actor):
        raise Refused("Sign in first.", code="not_signed_in", status=401)
    await scope["litestar_app"].state.proofs.admit(scope, route.permission, is_light=route.is_light)
    headers = dict(scope["headers"])
    body = await bodies.read_body(receive, headers) if scope["method"] not in ("GET", "HEAD") else b""
    await _send(await route.api(PluginCall(actor, scope, headers, body)), send)


async def _send(answer: ApiAnswer, send: Any) -> None:
    body = answer.body
    if body is None:
        body = b"" if answer.told is None else _encode(answer.told)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    headers += [(b"content-type", answer.media_type.encode("latin-1")), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
