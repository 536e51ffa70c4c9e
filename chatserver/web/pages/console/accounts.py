"""Who is here: found by name or address, made, put into groups, made an admin, suspended and let in again."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlencode

import msgspec
from litestar import get, post
from litestar.params import FromPath

from chatserver.domain.access import Account, AccountFilter, AccountRole, AccountState
from chatserver.errors import BadInput, ChatserverError, Conflict, NotFound
from chatserver.web import views
from chatserver.web.auth import form_of
from chatserver.web.errors import problem_of
from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.visit import Page, PageRequest, Visit, go
from chatserver.words import gettext as _

HERE = "/admin/accounts"
PAGE = 50
ROLES = ("admin", "member")
STATES = ("active", "suspended")


class AccountLine(msgspec.Struct, frozen=True):
    """An account as the list shows it. is_me: whose page it is."""

    id: str
    email: str
    name: str
    role: str
    state: str
    groups: str
    since: str
    is_me: bool


@get(HERE, opt=CONSOLE)
async def show_accounts(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    news = {
        "made": _("The account is made."),
        "changed": _("Changed."),
        "narrowed": _("Changed. Outside the group “default” an account has only what is open to its own groups."),
    }.get(request.query_params.get("news", ""), "")
    return await _list(visit, news=news)


@post(HERE, opt=CONSOLE)
async def create_account(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    groups = form.get("groups", "").replace(",", " ").split()
    try:
        await visit.house.accounts.create(
            form.get("email", ""),
            name=form.get("name", ""),
            role=_role(form.get("role", "member")),
            groups=groups or ["default"],
            secret=form.get("password", "") or None,
            by=visit.actor,
        )
    except ChatserverError as error:
        return await _list(visit, error=error, typed=form)
    return go(f"{HERE}?news=made")


@post(HERE + "/{account_id:str}", opt=CONSOLE)
async def change_account(request: PageRequest, account_id: FromPath[str]) -> Page:
    """What the form does not name stays as it is. Nobody shuts out or demotes themselves here."""
    visit = await Visit.of(request)
    form = await form_of(request)
    try:
        role = _role(form["role"]) if "role" in form else None
        state = _state(form["state"]) if "state" in form else None
        groups = form["groups"].replace(",", " ").split() or ["default"] if "groups" in form else None
        if account_id == visit.actor.account_id and (role == "member" or state == "suspended"):
            raise Conflict("Another admin can do that; you would shut yourself out.", code="yourself")
        await visit.house.accounts.update(account_id, role=role, state=state, groups=groups, by=visit.actor)
    except NotFound:
        raise
    except ChatserverError as error:
        return await _list(visit, error=error)
    kept = {name: form[name] for name in ("q", "of_role", "of_state", "page") if form.get(name)}
    news = "narrowed" if groups is not None and "default" not in groups else "changed"
    return go(f"{HERE}?{urlencode({'news': news, **kept})}")


def _role(text: str) -> AccountRole:
    if text not in ROLES:
        raise BadInput("A role is admin or member.", code="bad_role", status=422)
    return cast(AccountRole, text)


def _state(text: str) -> AccountState:
    if text not in STATES:
        raise BadInput("A state is active or suspended.", code="bad_state", status=422)
    return cast(AccountState, text)


async def _list(
    visit: Visit, *, news: str = "", error: ChatserverError | None = None, typed: dict[str, str] | None = None
) -> Page:
    asked = visit.request.query_params
    told = asked.get("page", "1")[:9]
    wanted = AccountFilter(
        " ".join(asked.get("q", "").split())[:100],
        asked.get("of_role", "") if asked.get("of_role", "") in ROLES else "",
        asked.get("of_state", "") if asked.get("of_state", "") in (*STATES, "disabled") else "",
    )
    page = int(told) if told.isascii() and told.isdigit() else 1
    found = await visit.house.accounts.find(wanted, page=page, size=PAGE)
    narrowed = {"q": wanted.text, "of_role": wanted.role, "of_state": wanted.state}
    return await show(
        visit,
        "accounts.html",
        news=news,
        problem=problem_of(error) if error is not None else None,
        status=error.status if error is not None else 200,
        lines=[_line(one, visit) for one in found.accounts],
        wanted=wanted,
        found=found,
        others=urlencode({name: value for name, value in narrowed.items() if value}),
        typed=typed or {},
    )


def _line(account: Account, visit: Visit) -> AccountLine:
    return AccountLine(
        account.id,
        account.email,
        account.name,
        account.role,
        account.state,
        " ".join(account.groups),
        views.date_text(account.created_at, visit.zone),
        account.id == visit.actor.account_id,
    )


route_handlers = (show_accounts, create_account, change_account)
