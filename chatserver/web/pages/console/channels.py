"""The console's channels: the list, the form, a real request, on and off."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from litestar import get, post
from litestar.params import FromPath

from chatserver.domain.channels import ChannelEntry, ChannelWish
from chatserver.errors import BadInput, ChatserverError, NotFound
from chatserver.web import views
from chatserver.web.auth import form_of
from chatserver.web.errors import spoken
from chatserver.web.pages.console.desk import CONSOLE, LIGHT, show
from chatserver.web.pages.visit import Page, PageRequest, Visit, go
from chatserver.web.views import Problem
from chatserver.words import gettext as _

HERE = "/admin/channels"
NUMBERS = ("priority", "weight", "requests_per_minute", "tokens_per_minute", "concurrency")


@get(HERE, opt=CONSOLE)
async def show_channels(request: PageRequest) -> Page:
    return await _list(await Visit.of(request))


@get(f"{HERE}/new", opt=CONSOLE)
async def show_new(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    providers = tuple(visit.house.console.providers())
    asked = request.query_params
    wish = ChannelWish(asked.get("name", ""), asked.get("provider", ""), asked.get("base_url", ""))
    return await _form(visit, views.ChannelFormView("", wish, False, providers))


@post(HERE, opt=CONSOLE, status_code=200)
async def add_channel(request: PageRequest) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    try:
        channel_id = await visit.house.console.add(visit.actor, _wish_in(form))
    except ChatserverError as error:
        return await _form(visit, _typed(visit, form, None), error)
    return _done("added", channel_id)


@get(f"{HERE}/{{channel_id:str}}", opt=CONSOLE)
async def show_channel(request: PageRequest, channel_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    entry = await visit.house.console.entry(visit.actor, channel_id)
    return await _form(visit, _kept(visit, entry))


@post(f"{HERE}/{{channel_id:str}}", opt=CONSOLE, status_code=200)
async def change_channel(request: PageRequest, channel_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    form = await form_of(request)
    entry = await visit.house.console.entry(visit.actor, channel_id)
    try:
        await visit.house.console.change(visit.actor, channel_id, _wish_in(form))
    except NotFound:
        raise
    except ChatserverError as error:
        return await _form(visit, _typed(visit, form, entry), error)
    return _done("saved", channel_id)


@post(f"{HERE}/{{channel_id:str}}/switch", opt=CONSOLE)
async def switch_channel(request: PageRequest, channel_id: FromPath[str]) -> Page:
    """`on` says which way: pressing twice does it once."""
    visit = await Visit.of(request)
    is_on = (await form_of(request)).get("on") == "1"
    await visit.house.console.switch(visit.actor, channel_id, is_on)
    return _done("on" if is_on else "off", channel_id)


@post(f"{HERE}/{{channel_id:str}}/remove", opt=CONSOLE)
async def remove_channel(request: PageRequest, channel_id: FromPath[str]) -> Page:
    visit = await Visit.of(request)
    await visit.house.channels.disconnect(visit.actor, channel_id)
    return _done("removed", "")


@post(f"{HERE}/test", opt=LIGHT, status_code=200)
async def test_channel(request: PageRequest) -> Page:
    """By name, because those of the file have no id. One real request, and how long its first word took."""
    visit = await Visit.of(request)
    form = await form_of(request)
    name = form.get("name", "")
    try:
        trial = await visit.house.console.test(visit.actor, name, form.get("model", ""))
    except ChatserverError as error:
        title = _("{name} did not answer").format(name=name)
        status = 422 if error.status >= 500 else error.status
        return await _list(visit, problem=Problem(title, spoken(error), code=error.code), status=status)
    return await _list(visit, news=f"{name}: {views.trial_text(trial.model, trial.first_token_ms)}")


async def _list(visit: Visit, *, news: str = "", problem: Problem | None = None, status: int = 200) -> Page:
    entries = await visit.house.console.entries(visit.actor)
    return await show(
        visit,
        "channels.html",
        news=news or _news(visit, entries),
        problem=problem,
        status=status,
        channels=views.channel_rows(entries),
    )


def _news(visit: Visit, entries: list[ChannelEntry]) -> str:
    """What was done just now: the address names the deed and the channel."""
    asked = visit.request.query_params
    did, channel_id = asked.get("did", ""), asked.get("channel", "")
    if did == "removed":
        return _("The channel was removed.")
    name = next((entry.wish.name for entry in entries if channel_id and entry.id == channel_id), "")
    sentence = {
        "added": _("{name} was added. Test it: that makes one real request."),
        "saved": _("{name} was saved."),
        "on": _("{name} is on, from the next request."),
        "off": _("{name} is off, from the next request."),
    }.get(did, "")
    return sentence.format(name=name) if name and sentence else ""


async def _form(visit: Visit, form: views.ChannelFormView, error: ChatserverError | None = None) -> Page:
    problem = Problem(_("Not saved"), spoken(error), code=error.code) if error is not None else None
    return await show(
        visit,
        "channel.html",
        problem=problem,
        status=error.status if error is not None else 200,
        form=form,
        offers=visit.house.channels.offers(),
    )


def _kept(visit: Visit, entry: ChannelEntry) -> views.ChannelFormView:
    providers = tuple(sorted({*visit.house.console.providers(), entry.wish.provider}))
    return views.ChannelFormView(entry.id, entry.wish, entry.has_key, providers, entry.served)


def _typed(visit: Visit, form: dict[str, str], entry: ChannelEntry | None) -> views.ChannelFormView:
    """The form as it was sent, but for the key, so that nothing has to be typed again."""
    shown = {name: value for name, value in form.items() if name not in NUMBERS}
    wish = msgspec.structs.replace(_wish_in(shown), api_key="")
    numbers = {name: form[name] for name in NUMBERS if name in form}
    providers = tuple(visit.house.console.providers())
    if entry is None:
        return views.ChannelFormView("", wish, False, providers, numbers=numbers)
    return views.ChannelFormView(entry.id, wish, entry.has_key, providers, entry.served, numbers)


def _wish_in(form: dict[str, str]) -> ChannelWish:
    """Raises BadInput for what should be a number and is none."""
    numbers = {name: _number(form[name]) for name in NUMBERS if form.get(name, "").strip()}
    return ChannelWish(
        name=form.get("name", ""),
        provider=form.get("provider", ""),
        base_url=form.get("base_url", ""),
        api_key=form.get("api_key", ""),
        forgets_key=form.get("forgets_key") == "1",
        models=tuple(form.get("models", "").replace(",", "\n").splitlines()),
        groups=tuple(form.get("groups", "").split(",")),
        is_on=form.get("is_on", "") == "1",
        note=form.get("note", ""),
        **numbers,
    )


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadInput("Write a whole number: 0, 1, 2 …", code="bad_number", status=422) from None


def _done(did: str, channel_id: str) -> Page:
    return go(f"{HERE}?{urlencode({'did': did, 'channel': channel_id})}")


route_handlers = (
    show_channels,
    show_new,
    add_channel,
    test_channel,
    show_channel,
    change_channel,
    switch_channel,
    remove_channel,
)
