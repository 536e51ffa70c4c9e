"""The console's models: which may be used, by whom, and who serves them."""

from __future__ import annotations

from urllib.parse import urlencode

from litestar import get, post

from chatserver.domain.channels import ModelRule
from chatserver.errors import ChatserverError
from chatserver.web import views
from chatserver.web.auth import form_of
from chatserver.web.errors import spoken
from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.visit import Page, PageRequest, Visit, go
from chatserver.web.views import Problem
from chatserver.words import gettext as _

HERE = "/admin/models"


@get(HERE, opt=CONSOLE)
async def show_models(request: PageRequest) -> Page:
    return await _list(await Visit.of(request))


@post(HERE, opt=CONSOLE, status_code=200)
async def rule_model(request: PageRequest) -> Page:
    """`on` is 1 or 0, `groups` has commas; a model's name may hold anything, so it stands in the form."""
    visit = await Visit.of(request)
    form = await form_of(request)
    model, is_on = form.get("model", ""), form.get("on") == "1"
    try:
        groups = tuple(form.get("groups", "").split(","))
        await visit.house.console.rule(visit.actor, ModelRule(model, is_on, groups))
    except ChatserverError as error:
        return await _list(visit, Problem(_("Not saved"), spoken(error), code=error.code), error.status)
    return go(f"{HERE}?{urlencode({'model': model})}")


async def _list(visit: Visit, problem: Problem | None = None, status: int = 200) -> Page:
    entries = await visit.house.console.models(visit.actor)
    changed = next((one for one in entries if one.model == visit.request.query_params.get("model")), None)
    news = ""
    if changed is not None and problem is None:
        sentence = (
            _("{model} is on, from the next request.") if changed.rule.is_on else _("{model} is off, for everybody.")
        )
        news = sentence.format(model=changed.title)
    return await show(visit, "models.html", news=news, problem=problem, status=status, models=views.model_rows(entries))


route_handlers = (show_models, rule_model)
