"""One's own settings: look, name, password, devices, keys."""

from __future__ import annotations

from typing import Any

from litestar import get, post

from chatserver import words
from chatserver.clock import now_us
from chatserver.domain.extend import Refusal
from chatserver.errors import BadInput, ChatserverError
from chatserver.web import assets, slots, templating, views
from chatserver.web.auth import desk_of, form_of
from chatserver.web.errors import spoken
from chatserver.web.pages.keys import KeyForm, form_of_key, read_key
from chatserver.web.pages.visit import THEMES, USUAL, Page, PageRequest, Visit, go, html, nothing
from chatserver.web.views import Problem
from chatserver.words import gettext as _


@get("/settings")
async def show_settings(request: PageRequest) -> Page:
    return await _settings_page(await Visit.of(request))


@post("/settings/look", status_code=200)
async def set_look(request: PageRequest) -> Page:
    """Theme, time zone, side: each only when it is given and makes sense."""
    visit = await Visit.of(request)
    form = await form_of(request)
    changes: dict[str, Any] = {}
    if form.get("theme") in THEMES:
        changes["theme"] = form["theme"]
    if form.get("side") in ("open", "closed"):
        changes["side"] = form["side"]
    if form.get("look") in {theme.name for theme in assets.themes()}:
        changes["look"] = form["look"]
    changes |= {name: form[name] for name in ("density", "text", "motion") if form.get(name) in USUAL[name]}
    if views.zone_of(form.get("timezone", "")[:64]) is not None:
        changes["timezone"] = form["timezone"]
    if changes:
        await visit.house.accounts.set_settings(visit.actor, changes)
    return nothing() if visit.is_htmx else go("/settings")


@post("/settings/chatting", status_code=200)
async def set_chatting(request: PageRequest) -> Page:
    """Language, model of new chats, the key that sends. Nothing of it is kept when one of them makes no sense."""
    visit = await Visit.of(request)
    form = await form_of(request)
    language, model, key = form.get("language", ""), form.get("default_model", ""), form.get("send_key", "enter")
    problem = None
    if language and not words.knows(language):
        problem = Problem(_("Nothing was changed."), _("Pick a language from the list."), code="unknown_language")
    elif model and all(known.id != model for known in visit.models()):
        problem = Problem(_("Nothing was changed."), _("Pick a model from the list."), code="unknown_model")
    elif key not in USUAL["send_key"]:
        problem = Problem(_("Nothing was changed."), _("Pick one of the two keys."), code="unknown_key")
    if problem is not None:
        return await _settings_page(visit, problem=problem, status=422)
    await visit.house.accounts.set_settings(
        visit.actor, {"language": language, "default_model": model, "send_key": key}
    )
    return go("/settings#chatting")


@post("/settings/name", status_code=200)
async def set_name(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.accounts.rename(visit.actor, form.get("name", "").strip()[:100])
    return go("/settings")


@post("/settings/password", status_code=200)
async def set_password(request: PageRequest) -> Page:
    """A new password, for who knows the old one; tries are counted like those at the door."""
    visit = await Visit.of(request)
    form = await form_of(request)
    account = visit.actor.account
    known = await desk_of(request).try_in({"email": account.email, "password": form.get("current", "")}, request)
    if isinstance(known, Refusal) or known.id != account.id:
        return await _settings_page(
            visit, problem=Problem(_("The password was not changed."), _("The old one is not right."))
        )
    try:
        await visit.house.accounts.set_secret(account.id, form.get("new", ""), keep=visit.actor, by=visit.actor)
    except ChatserverError as error:
        return await _settings_page(visit, problem=Problem(_("The password was not changed."), spoken(error)))
    return await _settings_page(visit, news=_("The password was changed, and every other device signed out."))


@post("/settings/sessions/end", status_code=200)
async def end_session(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    if not form.get("session_id"):
        raise BadInput(_("Name the session to end."))
    await visit.house.accounts.end_session(visit.actor, form["session_id"])
    return go("/settings")


@post("/settings/keys", opt={"permission": "keys.manage", "proof": True}, status_code=200)
async def make_key(request: PageRequest) -> Page:
    """The page is the answer itself: the key is shown here and never again."""
    visit = await Visit.of(request)
    form = await form_of(request)
    typed = form_of_key(form)
    try:
        wish = read_key(typed, visit.actor.account)
        made = await visit.house.accounts.create_key(
            wish.account,
            wish.name,
            wish.scopes,
            wish.expires_at,
            models=wish.models,
            requests_per_minute=wish.requests_per_minute,
            by=visit.actor,
        )
    except BadInput as error:
        problem = Problem(_("No key was made."), spoken(error), code=error.code)
        return await _settings_page(visit, problem=problem, key_form=typed, status=error.status)
    return await _settings_page(visit, new_key=made.secret)


@post("/settings/keys/revoke", opt={"permission": "keys.manage"}, status_code=200)
async def revoke_key(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    await visit.house.accounts.revoke_key(visit.actor, form.get("key_id", ""))
    return go("/settings")


async def _settings_page(
    visit: Visit,
    *,
    new_key: str = "",
    problem: Problem | None = None,
    news: str = "",
    key_form: KeyForm = KeyForm(),
    status: int = 200,
) -> Page:
    accounts = visit.house.accounts
    now = now_us()
    slot = await slots.fill(visit.house.plugins, visit.actor.account)
    return html(
        templating.render(
            "settings.html",
            slot=slot,
            frame=visit.frame,
            sidebar=await visit.sidebar(),
            problem=problem,
            news=news,
            new_key=new_key,
            key_form=key_form,
            settings=views.own_settings(visit.settings),
            looks=assets.themes(),
            models=views.model_views(visit.models()),
            languages=tuple(words.LANGUAGES.items()),
            sessions=views.session_views(
                await accounts.sessions(visit.actor), current=visit.actor.session_id, now_us=now, zone=visit.zone
            ),
            keys=views.key_views(await accounts.keys(visit.actor), now_us=now, zone=visit.zone),
        ),
        status=status,
    )


route_handlers = (
    show_settings,
    set_look,
    set_chatting,
    set_name,
    set_password,
    end_session,
    make_key,
    revoke_key,
)
