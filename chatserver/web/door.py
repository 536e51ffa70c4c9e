"""Every request passes here first: the Host rule, who asks, limits and forgery; on the way out, the headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from chatserver import words
from chatserver.clock import new_id, now_us
from chatserver.domain.access import Actor
from chatserver.domain.endpoints import Endpoint
from chatserver.errors import ChatserverError, Refused, Unavailable
from chatserver.web import bodies, errors, headers, limits, security
from chatserver.web.endpoints import Endpoints
from chatserver.web.forms import FormReader

if TYPE_CHECKING:
    from chatserver.house import House

log = structlog.get_logger("chatserver.web")

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SENDS = re.compile(
    r"/send|/m/[^/]+/(?:edit|regenerate|continue)|/c/[^/]+/[^/]+/compare|/api/conversations/[^/]+/messages|/api/messages/[^/]+/(?:edit|regenerate|continue)"
)
"""The POSTs that make a turn."""
MAKES_SESSION = re.compile(r"/sign-in|/setup/[^/]+")
"""The POSTs that set a cookie: checked like those that carry one, but there is no session yet to bind a token to."""


SHARED = re.compile(r"/s/([^/]+)(?:/.*)?")
"""What is reached by a share link: the secret stands in the path."""
UPLOADS = re.compile(r"/send|/(?:api/)?files|/settings/data/import")
"""The POSTs that may bring files, besides those of plugins that take some: read by web/forms.py, everything else whole
and small."""
SESSION_ONLY = re.compile(r"/settings(?:/.*)?|/sign-out")
"""What nobody may do with a key: a key that leaked must not make another one."""


PROVE = "/prove"
"""Where the page that asks again who it is sends what it holds: the request goes on as the one that was held."""


class Prover(Protocol):
    """What is needed of web/proving.py here."""

    async def go_on(self, scope: Any, receive: Any) -> tuple[Any, Any]: ...


class Door:
    """Wraps the app. After it, `scope["state"]` holds `request_id`, `actor` (or None), `share` (the actor of a share
    link in the path, or None), `csrf`, `address`, `form` (of what may bring files), and `method` and `path` as they
    came.

    Nothing else makes an Actor, and nothing behind it needs to think of headers, Host, body size or forged requests.
    """

    def __init__(self, inner: App, house: House) -> None:
        self._inner = inner
        self._accounts = house.accounts
        self._meters = house.meters
        self._permissions = house.permissions
        self.origin = security.Origin(house.public_url)
        self.proxies = security.TrustedProxies(house.trusted_proxies)
        self._defaults = headers.default_headers(self.origin)
        self._api = _window(house, "api_requests_per_minute")
        self._sends = _window(house, "sends_per_minute")
        self._shared = _window(house, "shared_pages_per_minute")
        self._forms = FormReader(house.blobs.spool, lambda: house.limits["upload_mb"])
        self._keys = limits.Window("key_requests_per_minute", 0, 60)
        self.endpoints = Endpoints(house)
        self.proofs: Prover | None = None
        self.takes_files: Callable[[str], bool] = lambda path: False
        self._strangers = _window(house, "api_requests_per_minute")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        state = scope["state"] = {
            **scope.get("state", {}),
            "request_id": new_id(),
            "method": scope["method"],
            "path": scope["path"],
            "actor": None,
            "share": None,
            "endpoint": None,
            "csrf": "",
        }
        is_head = scope["method"] == "HEAD"
        has_started, status, began = False, 0, now_us()
        request_id = state["request_id"].encode()
        structlog.contextvars.bind_contextvars(request_id=state["request_id"])

        async def send_with_headers(message: dict[str, Any]) -> None:
            nonlocal has_started, status
            if message["type"] == "http.response.start":
                has_started = True
                status = message["status"]
                self._meters.responded(message["status"])
                own = [*message.get("headers", ()), (b"x-request-id", request_id)]
                if state["endpoint"] is not None and state["endpoint"].id_header:
                    own.append((state["endpoint"].id_header.encode(), request_id))
                message = {**message, "headers": headers.with_defaults(own, self._defaults)}
            elif is_head:
                message = {**message, "body": b""}
            await send(message)

        try:
            await self._admit(scope, receive, send_with_headers)
        except bodies.ClientGone:
            return
        except asyncio.CancelledError:
            # Only the end of the server cancels a request; this task ends here in any case.
            if not has_started:
                late = Unavailable("The server is about to restart. Try again in a moment.", code="draining")
                await errors.send_answer(errors.answer(late, scope), send_with_headers)
        except Exception as error:  # the last wall: whatever happens inside, somebody gets a proper answer
            if has_started:
                where = errors.without_secret(scope["path"])
                log.error("response_broken_off", path=where, exc_info=error)
                return
            await errors.send_answer(errors.answer(error, scope), send_with_headers)
        finally:
            if (form := state.get("form")) is not None:
                await form.discard()
            if self._meters.is_traced:
                account_id = state["actor"].account_id if state["actor"] is not None else ""
                path = errors.without_secret(state["path"])
                self._meters.request_ended(state["request_id"], state["method"], path, status, account_id, began)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        given: dict[bytes, bytes] = dict(scope["headers"])
        state, path, method = scope["state"], scope["path"], scope["method"]
        words.speak(words.negotiate(given.get(b"accept-language", b"").decode("latin-1")))
        peer = (scope.get("client") or ("", 0))[0]
        host = self._check_host(scope, given, peer)
        if peer in self.proxies:
            scope["scheme"] = self.proxies.scheme_of(
                peer, scope.get("scheme", "http"), given.get(b"x-forwarded-proto", b"").decode("latin-1").strip()
            )
            chain = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
            state["address"] = self.proxies.client_of(peer, chain.decode("latin-1"))
        else:
            state["address"] = peer
        if path.startswith("/static/"):
            await self._inner(_as_get(scope), receive, send)
            return
        endpoint = state["endpoint"] = self.endpoints.find(path)
        if endpoint is not None:
            await self._serve_endpoint(endpoint, scope, given, receive, send)
            return
        actor = state["actor"] = await self._who(given, state["address"])
        if actor is not None and actor.session_id:
            state["csrf"] = self._accounts.csrf_token(actor)
        if shared := SHARED.fullmatch(path):
            if not path.endswith("/alive"):
                self._shared.take(state["address"])
            state["share"] = await self._accounts.actor_of_share(shared[1])
        if path.startswith("/api/") and actor is not None:
            self._count(actor)
        if method not in security.SAFE_METHODS:
            receive = await self._check_change(scope, given, actor, host, receive)
            if path == PROVE and method == "POST" and self.proofs is not None:
                scope, receive = await self.proofs.go_on(scope, receive)
        await self._inner(_as_get(scope), receive, send)

    def _count(self, actor: Actor) -> None:
        if actor.requests_per_minute:
            self._keys.take(actor.key_id, actor.requests_per_minute)
        self._api.take(actor.account_id)

    async def _serve_endpoint(
        self, endpoint: Endpoint, scope: Scope, given: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """An address of a plugin's own: a key opens it and nothing else, so no other site can have a browser ask."""
        key = _bearer_of(given) or given.get(endpoint.key_header.encode(), b"").decode("latin-1").strip()
        if not key:
            raise errors.NotSignedIn("Send an API key. Settings, API keys makes one.")
        actor = scope["state"]["actor"] = await self._key_actor(key, scope["state"]["address"])
        self._count(actor)
        await self._permissions.require(actor, endpoint.permission)
        scope = _as_get(scope)
        if scope["method"] not in endpoint.methods:
            raise errors.MethodNotAllowed("This address does not do that.", errors.with_head(endpoint.methods))
        if scope["method"] not in security.SAFE_METHODS:
            body = await bodies.read_body(receive, given, endpoint.body_max_bytes)
            bodies.check_text(body, given.get(b"content-type", b"").lower())
            receive = bodies.replay(body, receive)
        await self.endpoints.serve(endpoint, scope, receive, send)

    async def _key_actor(self, key: str, address: str) -> Actor:
        actor = await self._accounts.actor_of_key(key)
        if actor is None:
            self._strangers.take(address)
            raise errors.NotSignedIn("This API key is unknown, revoked or expired.")
        return actor

    def _check_host(self, scope: Scope, given: Mapping[bytes, bytes], peer: str) -> str:
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        port = (scope.get("server") or ("", 0))[1] or 0
        if not self.origin.admits_host(host, port, path=scope["path"], peer=peer):
            raise ChatserverError(
                "This server does not answer to that host name. Use the address it printed at start, or have its"
                " operator set CHATSERVER_PUBLIC_URL.",
                code="bad_host",
                status=400,
            )
        return host

    async def _who(self, given: Mapping[bytes, bytes], address: str) -> Actor | None:
        """The one authenticator. A key that is sent must be right; a cookie that opens nothing is as none."""
        key = _bearer_of(given)
        if key is not None:
            return await self._key_actor(key, address)
        cookie = cookie_of(given, self.origin.cookie_name)
        return await self._accounts.actor_of_cookie(cookie) if cookie else None

    async def _check_change(
        self, scope: Scope, given: Mapping[bytes, bytes], actor: Actor | None, host: str, receive: Receive
    ) -> Receive:
        path = scope["path"]
        makes_session = MAKES_SESSION.fullmatch(path) is not None
        has_session = actor is not None and actor.origin == "web"
        if actor is not None and not has_session and SESSION_ONLY.fullmatch(path):
            raise Refused("An API key may not do this. Sign in and do it in Settings.", code="session_only")
        if has_session or makes_session:
            security.check_same_origin(given, self.origin.own_origin(scope.get("scheme", "http"), host))
        if actor is not None and scope["method"] == "POST" and SENDS.fullmatch(path):
            self._sends.take(actor.account_id)
        content_type = given.get(b"content-type", b"").lower()
        may_bring = UPLOADS.fullmatch(path) or self.takes_files(path)
        if actor is not None and may_bring and content_type.startswith(b"multipart/form-data"):
            return await self._read_form(scope, given, actor, receive)
        body = await bodies.read_body(receive, given)
        scope["state"]["body"] = body
        # What /prove brings was sealed for this account; its session may be a new one since.
        if has_session and not makes_session and path != PROVE:
            token = given.get(b"x-csrf", b"").decode("latin-1") or bodies.form_token(body, content_type)
            security.check_token(token, scope["state"]["csrf"])
        if body:
            bodies.check_text(body, content_type)
        return bodies.replay(body, receive)

    async def _read_form(self, scope: Scope, given: Mapping[bytes, bytes], actor: Actor, receive: Receive) -> Receive:
        """A form that may bring files. The token comes in a header, or in the form before its first file."""
        state = scope["state"]

        def check(token: str) -> None:
            security.check_token(token, state["csrf"])

        in_header = given.get(b"x-csrf", b"").decode("latin-1")
        has_session = actor.origin == "web"
        if has_session and in_header:
            check(in_header)
        in_form = check if has_session and not in_header else None
        state["form"] = await self._forms.read(actor.account_id, receive, given, in_form)
        return bodies.replay(b"", receive)


def _window(house: House, name: str) -> limits.Window:
    """A limit a minute, as it stands at each request."""
    return limits.Window(name, lambda: house.limits[name], 60)


def _bearer_of(given: Mapping[bytes, bytes]) -> str | None:
    """The key that was sent, also an empty one; None when none was."""
    scheme, _, key = given.get(b"authorization", b"").decode("latin-1").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def own_address(request: Any) -> str:
    """Where this server is for who asks, as `https://chat.example.org`."""
    door: Door = request.app.state.door
    return door.origin.own_origin(request.scope.get("scheme", "http"), request.headers.get("host", ""))


def cookie_of(given: Mapping[bytes, bytes], name: str) -> str:
    """The value of one cookie; the first, when a name comes twice."""
    for pair in given.get(b"cookie", b"").decode("latin-1").split(";"):
        key, _, value = pair.strip().partition("=")
        if key == name:
            return value
    return ""


def _as_get(scope: Scope) -> Scope:
    """HEAD is asked of the same handlers as GET; the body is dropped on the way out."""
    return {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope
