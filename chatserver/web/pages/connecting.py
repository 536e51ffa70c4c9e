"""The first page of whoever runs the server: connect a service, try it, pick a model, begin."""

from __future__ import annotations

from litestar import get, post

from chatserver.chat.channels import Connection
from chatserver.errors import BadInput, ChatserverError
from chatserver.web import templating, views
from chatserver.web.auth import form_of
from chatserver.web.pages.visit import Page, PageRequest, Visit, go, html
from chatserver.web.views import Problem
from chatserver.words import gettext as _

ADMINS = {"permission": "admin.console"}
LIGHT = {**ADMINS, "is_light": True}


@get("/welcome", opt=ADMINS)
async def show_welcome(request: PageRequest) -> Page:
    return await _page(await Visit.of(request))


@post("/welcome/connect", opt=ADMINS, status_code=200)
async def connect(request: PageRequest) -> Page:
    """Ask the service for its models with the key that was pasted, and keep both when it answers."""
    visit = await Visit.of(request)
    form = await form_of(request)
    service, typed = form.get("service", ""), form.get("address", "").strip()
    offer = next((one for one in visit.house.channels.offers() if one.title == service), None)
    key = form.get("key", "")
    try:
        if offer is None:
            raise BadInput(_("Pick a service from the list."), code="unknown_service", status=422)
        if not offer.base_url and not typed:
            raise BadInput(_("Type the address of the service, as in http://127.0.0.1:8080/v1."), code="bad_address")
        if offer.needs_key and not key.strip():
            raise BadInput(_("Paste the key of {service}.").format(service=offer.title), code="bad_key")
        wanted = Connection(offer.provider, offer.base_url or typed, key, offer.title if offer.base_url else "")
        name, _models = await visit.house.channels.connect(visit.actor, wanted)
    except ChatserverError as error:
        problem = Problem(_("Not connected"), error.message, code=error.code)
        return await _page(visit, service=service, address=typed, problem=problem, status=_status_of(error))
    return await _page(visit, news=_("{name} is connected.").format(name=name))


@post("/welcome/test", opt=LIGHT, status_code=200)
async def test(request: PageRequest) -> Page:
    """One real request to a model, and how long its first word took."""
    visit = await Visit.of(request)
    form = await form_of(request)
    try:
        trial = await visit.house.channels.test(visit.actor, form.get("model", ""))
    except ChatserverError as error:
        problem = Problem(_("It did not answer"), error.message, code=error.code)
        return await _page(visit, problem=problem, status=_status_of(error))
    return await _page(visit, news=views.trial_text(trial.model, trial.first_token_ms))


@post("/welcome/begin", opt=LIGHT, status_code=200)
async def begin(request: PageRequest) -> Page:
    """Start with a model: new chats ask it from now on."""
    visit = await Visit.of(request)
    model = (await form_of(request)).get("model", "")
    if all(known.id != model for known in visit.models()):
        problem = Problem(_("That model is not there"), _("Pick one from the list."), code="unknown_model")
        return await _page(visit, problem=problem, status=422)
    await visit.house.accounts.set_settings(visit.actor, {"default_model": model})
    return go("/")


@post("/welcome/skip", opt=LIGHT, status_code=200)
async def skip(request: PageRequest) -> Page:
    """Do not offer this page on the empty chat any more; it stays at its address."""
    visit = await Visit.of(request)
    await visit.house.accounts.set_settings(visit.actor, {"welcome": "skipped"})
    return go("/")


@post("/welcome/disconnect", opt=ADMINS, status_code=200)
async def disconnect(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    await visit.house.channels.disconnect(visit.actor, (await form_of(request)).get("channel_id", ""))
    return go("/welcome")


async def _page(
    visit: Visit,
    *,
    service: str = "",
    address: str = "",
    news: str = "",
    problem: Problem | None = None,
    status: int = 200,
) -> Page:
    channels = visit.house.channels
    view = views.connect_view(
        await channels.lines(visit.actor),
        channels.offers(),
        visit.models(),
        service=service,
        address=address,
        news=news,
        problem=problem,
    )
    page = templating.render("welcome.html", frame=visit.frame, sidebar=await visit.sidebar(), connect=view)
    return html(page, status=status)


def _status_of(error: ChatserverError) -> int:
    """What a service answered is no fault of this server's: the page says it and stays usable."""
    return 422 if error.status >= 500 else error.status


route_handlers = (show_welcome, connect, test, begin, skip, disconnect)
