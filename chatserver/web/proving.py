"""Acts of consequence ask again who it is, when that was last shown long ago; what was being done waits, sealed, in the
page that asks, and goes on from there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from litestar import Request
from litestar.datastructures import State

from chatserver.chat.sealing import Seal
from chatserver.clock import now_us
from chatserver.domain.access import Actor
from chatserver.domain.extend import Refusal
from chatserver.errors import ChatserverError, LimitReached, Refused, SetupError
from chatserver.house import House
from chatserver.web import bodies, templating
from chatserver.web.auth import SignIn
from chatserver.web.errors import NotSignedIn, ProofNeeded, spoken
from chatserver.web.pages.console.desk import CONSOLE
from chatserver.web.pages.visit import Visit
from chatserver.web.security import SAFE_METHODS
from chatserver.web.views import Problem
from chatserver.words import gettext as _

PROOF_US = 15 * 60 * 1_000_000
"""How long a sign-in is proof enough for an act of consequence (ASVS 7.5.1)."""
HELD_US = 12 * 3600 * 1_000_000
"""How long a page that asks may lie open."""
HELD_MAX_BYTES = 500_000
"""A larger form is not held: sealed and written as text it would not come back in one body."""
FORM = b"application/x-www-form-urlencoded"

Receive = Callable[[], Any]


class HeldAct(msgspec.Struct, frozen=True):
    """A form on its way to be done. path '': it was too large to be held."""

    path: str
    query: str
    body: str
    made_at: int


class Proofs:
    """One per app, in `app.state.proofs`."""

    def __init__(self, house: House, desk: SignIn) -> None:
        self._accounts = house.accounts
        self._permissions = house.permissions
        self._plugins = house.plugins
        self._desk = desk
        self._seal = Seal(house.secret_key, "held act")

    async def admit(self, scope: Any, permission: str, *, is_light: bool = False, of_admins: bool = False) -> None:
        """Let somebody who is known through to what wants a permission, '' for none. A change in the console is an act
        of consequence, unless it is_light; of_admins: a change that is one when an admin makes it.

        Raises Refused without the permission, and for a key: a key that leaked must not decide over the house. Raises
        ProofNeeded with the page that asks.
        """
        actor: Actor = scope["state"]["actor"]
        if permission:
            await self._permissions.require(actor, permission)
        if scope["state"]["method"] in SAFE_METHODS or is_light:
            return
        if permission != CONSOLE["permission"] and not (of_admins and actor.is_admin):
            return
        if not actor.session_id:
            raise Refused("An API key may not do this. Sign in and do it in the console.", code="session_only")
        if not await self._is_proved(actor):
            raise await self._needed(scope, self._held(scope, actor))

    async def go_on(self, scope: Any, receive: Receive) -> tuple[Any, Receive]:
        """The answer of the page that asks: the request that was held, as if it came now.

        Raises NotSignedIn, Refused `csrf` for what this server did not seal for this account, and ProofNeeded.
        """
        actor = scope["state"]["actor"]
        if actor is None or not actor.session_id:
            raise NotSignedIn
        form = dict(parse_qsl(scope["state"].get("body", b"").decode(), keep_blank_values=True))
        sealed = form.get("held", "")
        held = self._opened(sealed, actor)
        if not await self._is_proved(actor):
            await self._prove(scope, actor, form.get("password", ""), sealed)
        scope["state"]["actor"] = msgspec.structs.replace(actor, proved_at=now_us())
        return _request_of(scope, held, receive)

    async def _prove(self, scope: Any, actor: Actor, password: str, sealed: str) -> None:
        if not password:
            raise await self._needed(scope, sealed, text=_("Type your password, or sign in again as you usually do."))
        request: Request[Any, Any, State] = Request(scope)
        try:
            known = await self._desk.try_in({"email": actor.account.email, "password": password}, request)
        except LimitReached as error:
            raise await self._needed(scope, sealed, text=spoken(error), like=error) from None
        if isinstance(known, Refusal) or known.id != actor.account_id:
            raise await self._needed(scope, sealed, text=_("This is not your password. Try again."))
        await self._accounts.prove(actor, address=scope["state"]["address"])

    async def _is_proved(self, actor: Actor) -> bool:
        """Asked of the database before it is denied: another worker may just have been shown."""
        return _is_fresh(actor.proved_at) or _is_fresh(await self._accounts.proved_at(actor))

    async def _needed(
        self, scope: Any, sealed: str, *, text: str = "", like: ChatserverError | None = None
    ) -> ProofNeeded:
        request: Request[Any, Any, State] = Request(scope)
        visit = await Visit.of(request)
        backends = [backend for _name, backend in self._plugins.registered("register_auth_backends")]
        roads = [(one.name, road) for one in backends if (road := getattr(one, "road", ""))]
        html = templating.render(
            "proof.html",
            frame=visit.frame,
            email=visit.actor.account.email,
            held=sealed,
            roads=roads,
            has_password=len(roads) < len(backends),
            problem=Problem(_("Not yet."), text) if text else None,
        )
        return ProofNeeded(
            "You signed in more than 15 minutes ago. Sign in again, then repeat this.",
            html,
            status=like.status if like else 403,
            retry_after_s=like.retry_after_s if like else None,
        )

    def _held(self, scope: Any, actor: Actor) -> str:
        state = scope["state"]
        body: bytes = state.get("body", b"")
        is_form = dict(scope["headers"]).get(b"content-type", FORM).lower().startswith(FORM)
        path = state["path"] if is_form and len(body) <= HELD_MAX_BYTES and state["method"] == "POST" else ""
        query = scope.get("query_string", b"").decode("latin-1") if path else ""
        act = HeldAct(path, query, body.decode() if path else "", now_us())
        return self._seal.seal(msgspec.json.encode(act).decode(), actor.account_id)

    def _opened(self, sealed: str, actor: Actor) -> HeldAct:
        try:
            act = msgspec.json.decode(self._seal.open(sealed, actor.account_id), type=HeldAct)
        except (SetupError, msgspec.MsgspecError):
            act = HeldAct("", "", "", 0)
        if abs(now_us() - act.made_at) > HELD_US:
            raise Refused("This page lay open for too long, or is another account's. Do it once more.", code="csrf")
        return act


def _is_fresh(proved_at: int) -> bool:
    return abs(now_us() - proved_at) <= PROOF_US


def _request_of(scope: Any, held: HeldAct, receive: Receive) -> tuple[Any, Receive]:
    """What was too large to be held is said again by whoever typed it: their page still has it."""
    path, method = (held.path, "POST") if held.path else ("/admin", "GET")
    body = held.body.encode()
    own: Mapping[bytes, bytes] = {b"content-type": FORM, b"content-length": b"%d" % len(body)}
    headers = [(name, value) for name, value in scope["headers"] if name not in own]
    scope["state"].update(path=path, method=method, body=body)
    inner = {
        **scope,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": held.query.encode("latin-1"),
        "headers": [*headers, *own.items()],
    }
    return inner, bodies.replay(body, receive)
