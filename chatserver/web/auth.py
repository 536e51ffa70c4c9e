"""Signing in and out, and the one-time link that makes the first admin."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request, Response, Router, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import SerializationException
from litestar.handlers.base import BaseRouteHandler
from litestar.params import FromPath

from chatserver.chat.accounts import WRONG, Accounts
from chatserver.domain.access import Account, Actor
from chatserver.domain.extend import Refusal, SignInAttempt
from chatserver.errors import BadInput, ChatserverError, NotFound
from chatserver.web import templating
from chatserver.web.door import Door, cookie_of
from chatserver.web.errors import NotSignedIn
from chatserver.web.forms import form_in
from chatserver.web.limits import Most, SignInGuard
from chatserver.web.views import Frame, Problem
from chatserver.words import gettext as _

log = structlog.get_logger("chatserver.audit")

PageRequest = Request[Any, Any, State]
COOKIE_S = 90 * 86_400
EMAIL_MAX = 254
PASSWORD_MAX = 1024


async def require_actor(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard on every route that does not say `opt={"public": True}`. Raises NotSignedIn, or Refused when the actor
    has not the permission in `opt["permission"]`: chat.use when it says nothing, none when it is empty. A change in the
    console, and what says `opt={"proof": True}` of an admin, wants a sign-in that is fresh; `opt={"is_light": True}` is
    of no consequence. Raises ProofNeeded."""
    if handler.opt.get("public"):
        return
    actor = connection.scope["state"].get("actor")
    if actor is None:
        raise NotSignedIn
    await connection.app.state.proofs.admit(
        connection.scope,
        handler.opt.get("permission", "chat.use"),
        is_light=bool(handler.opt.get("is_light")),
        of_admins=bool(handler.opt.get("proof")),
    )


class SignIn:
    """What the handlers of this file share; one per app, in `app.state.sign_in`."""

    def __init__(self, accounts: Accounts, door: Door, tries_per_quarter_hour: Most) -> None:
        self.accounts = accounts
        self.origin = door.origin
        self.guard = SignInGuard(tries_per_quarter_hour)

    def frame(self, request: PageRequest) -> Frame:
        return Frame(
            csrf=request.scope["state"]["csrf"], is_plain_http=self.origin.is_public and not self.origin.is_https
        )

    def cookie(self, request: PageRequest) -> str:
        """The cookie the browser came with, whether it opens anything or not."""
        return cookie_of(dict(request.scope["headers"]), self.origin.cookie_name)

    def set_cookie(self, value: str) -> str:
        secure = " Secure;" if self.origin.is_https else ""
        return f"{self.origin.cookie_name}={value}; Path=/;{secure} HttpOnly; SameSite=Lax; Max-Age={COOKIE_S}"

    def drop_cookie(self) -> str:
        """The browser forgets that it was ever signed in."""
        secure = " Secure;" if self.origin.is_https else ""
        return f"{self.origin.cookie_name}=; Path=/;{secure} HttpOnly; SameSite=Lax; Max-Age=0"

    async def try_in(self, fields: Mapping[str, str], request: PageRequest) -> Account | Refusal:
        """One counted try; a failure is kept waiting. Raises LimitReached."""
        email, cookie = fields.get("email", ""), self.cookie(request)
        address = request.scope["state"]["address"]
        known = cookie if await self.accounts.has_signed_in_before(email, cookie) else ""
        attempt = self.guard.attempt(email, address, known)
        if len(email) > EMAIL_MAX or len(fields.get("password", "")) > PASSWORD_MAX:
            answer: Account | Refusal = WRONG
        else:
            answer = await self.accounts.sign_in(
                SignInAttempt(dict(fields), address, request.headers.get("user-agent", ""))
            )
        if isinstance(answer, Account) or answer.status == 429:
            attempt.give_back()
        else:
            log.info("sign_in_failed", address=address)
            await asyncio.sleep(attempt.delay_s)
        return answer

    async def let_in(self, account: Account, request: PageRequest, where: str) -> Response[bytes]:
        """A fresh session, whatever cookie there was before."""
        cookie = await self.accounts.open_session(
            account,
            request.headers.get("user-agent", ""),
            replaces=self.cookie(request),
            address=request.scope["state"]["address"],
        )
        return go_to(request, where, cookie=self.set_cookie(cookie))


@get("/sign-in", opt={"public": True})
async def show_sign_in(request: PageRequest) -> Response[bytes]:
    where = local_path(request.query_params.get("next", ""))
    if request.scope["state"]["actor"] is not None:
        return go_to(request, where or "/")
    if not await desk_of(request).accounts.has_admin():
        text = _("Open the one-time link that the server printed when it started.")
        return _sign_in_page(request, where=where, problem=Problem(title=_("Nobody has an account yet."), text=text))
    return _sign_in_page(request, where=where)


@post("/sign-in", opt={"public": True}, status_code=200)
async def sign_in(request: PageRequest) -> Response[bytes]:
    desk = desk_of(request)
    fields = await form_of(request)
    where = local_path(fields.pop("next", ""))
    fields.pop("csrf", None)
    email = fields.get("email", "")[:EMAIL_MAX]
    try:
        answer = await desk.try_in(fields, request)
    except ChatserverError as error:
        if error.status != 429:
            raise
        wait_s = error.retry_after_s or 60
        text = _("Too many tries. Wait {minutes} minutes and try again.").format(minutes=round(wait_s / 60 + 0.5))
        problem = Problem(title=_("That was not right."), text=text, code=error.code)
        return _sign_in_page(request, where=where, email=email, problem=problem, status=429, retry_after_s=wait_s)
    if isinstance(answer, Refusal):
        problem = Problem(title=_(answer.message), text=_(answer.next_step), code=answer.code)
        return _sign_in_page(
            request,
            where=where,
            email=email,
            problem=problem,
            status=answer.status,
            retry_after_s=answer.retry_after_s or (5 if answer.status == 429 else None),
        )
    return await desk.let_in(answer, request, where or "/")


@post("/sign-out", opt={"permission": ""}, status_code=200)
async def sign_out(request: PageRequest) -> Response[bytes]:
    """Ends the session; the browser keeps a cookie that opens nothing, so that its owner is never locked out."""
    desk = desk_of(request)
    actor: Actor = request.scope["state"]["actor"]
    if not actor.session_id:
        raise BadInput("A key has no session to end; revoke it in Settings instead.")
    await desk.accounts.end_session(actor)
    return go_to(request, "/sign-in", cookie=desk.set_cookie(desk.accounts.mark_browser(actor.account_id)))


@get("/setup/{token:str}", opt={"public": True})
async def show_setup(request: PageRequest, token: FromPath[str]) -> Response[bytes]:
    if not await desk_of(request).accounts.is_setup_token(token):
        raise NotFound(_("This link has been used, or a newer one was printed."))
    return _setup_page(request, token)


@post("/setup/{token:str}", opt={"public": True}, status_code=200)
async def set_up(request: PageRequest, token: FromPath[str]) -> Response[bytes]:
    desk = desk_of(request)
    fields = await form_of(request)
    email, name = fields.get("email", "")[:EMAIL_MAX], fields.get("name", "")[:100]
    password = fields.get("password", "")
    try:
        if len(password) > PASSWORD_MAX:
            raise BadInput(_("This password is longer than 1,024 characters."))
        account = await desk.accounts.create_first_admin(token, email, password, name=name)
    except NotFound:
        raise
    except ChatserverError as error:
        if error.status >= 500:
            raise
        problem = Problem(title=_("Not yet."), text=error.message, code=error.code)
        return _setup_page(request, token, email=email, name=name, problem=problem, status=error.status)
    return await desk.let_in(account, request, "/")


def desk_of(request: PageRequest) -> SignIn:
    desk: SignIn = request.app.state.sign_in
    return desk


async def form_of(request: PageRequest) -> dict[str, str]:
    """The text fields of a form, the last of a name. Raises BadInput."""
    if (arrived := form_in(request)) is not None:
        return {name: values[-1] for name, values in arrived.texts.items()}
    try:
        form = await request.form()
    except (ValueError, SerializationException):
        raise BadInput("The form cannot be understood.") from None
    return {str(name): value for name, value in form.items() if isinstance(value, str)}


def local_path(path: str) -> str:
    """The path when it stays on this server, else nothing."""
    is_local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() and "\\" not in path
    return path if is_local and len(path) <= 1000 else ""


def go_to(request: PageRequest, where: str, *, cookie: str = "") -> Response[bytes]:
    """Send a browser on, with htmx or without."""
    headers = {"set-cookie": cookie} if cookie else {}
    if "hx-request" in request.headers:
        return Response(b"", status_code=200, headers={**headers, "hx-redirect": where}, media_type="text/html")
    return Response(b"", status_code=303, headers={**headers, "location": where}, media_type="text/html")


def _sign_in_page(
    request: PageRequest,
    *,
    where: str = "",
    email: str = "",
    problem: Problem | None = None,
    status: int = 200,
    retry_after_s: float | None = None,
) -> Response[bytes]:
    frame = desk_of(request).frame(request)
    html = templating.render("sign_in.html", frame=frame, problem=problem, email=email, next=where)
    headers = {"retry-after": str(max(1, round(retry_after_s)))} if retry_after_s else {}
    return Response(html.encode(), status_code=status, headers=headers, media_type="text/html")


def _setup_page(
    request: PageRequest,
    token: str,
    *,
    email: str = "",
    name: str = "",
    problem: Problem | None = None,
    status: int = 200,
) -> Response[bytes]:
    frame = desk_of(request).frame(request)
    html = templating.render(
        "setup.html", frame=frame, problem=problem, email=email, name=name, action=f"/setup/{token}"
    )
    return Response(html.encode(), status_code=status, media_type="text/html")


router = Router("/", route_handlers=[show_sign_in, sign_in, sign_out, show_setup, set_up], include_in_schema=False)
