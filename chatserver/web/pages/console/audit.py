"""The console's audit: who did what, newest first."""

from __future__ import annotations

import msgspec
from litestar import get

from chatserver.clock import now_us
from chatserver.domain.audit import COMMAND_LINE, AuditEntry
from chatserver.web import views
from chatserver.web.pages.console.desk import CONSOLE, show
from chatserver.web.pages.visit import Page, PageRequest, Visit
from chatserver.web.views.audit import deed_text
from chatserver.web.views.times import moment_of, when_text
from chatserver.words import gettext as _

HERE = "/admin/audit"
PAGE = 50


class AuditLine(msgspec.Struct, frozen=True):
    """title: the action in words; when_iso: for programs; details: name and value, as they were noted."""

    who: str
    action: str
    title: str
    subject: str
    details: tuple[tuple[str, str], ...]
    when: str
    when_iso: str


@get(HERE, opt=CONSOLE)
async def show_audit(request: PageRequest) -> Page:
    """`action` shows one kind only; `before` is the last entry of the page before."""
    visit = await Visit.of(request)
    asked = request.query_params
    action, before = asked.get("action", "")[:60], asked.get("before", "")[:40]
    audit = visit.house.audit
    found = await audit.entries(visit.actor, before=before, action=action, limit=PAGE + 1)
    emails = await visit.house.accounts.emails({name for one in found for name in (one.actor_id, one.subject)})
    return await show(
        visit,
        "audit.html",
        lines=[_line(one, visit, emails) for one in found[:PAGE]],
        action=action,
        actions=[(name, deed_text(name)) for name in await audit.actions(visit.actor)],
        is_first=not before,
        older=found[PAGE - 1].id if len(found) > PAGE else "",
    )


def _who(actor_id: str, emails: dict[str, str]) -> str:
    if actor_id == COMMAND_LINE:
        return _("command line")
    return emails.get(actor_id, actor_id) if actor_id else _("the server")


def _line(entry: AuditEntry, visit: Visit, emails: dict[str, str]) -> AuditLine:
    return AuditLine(
        _who(entry.actor_id, emails),
        entry.action,
        deed_text(entry.action),
        emails.get(entry.subject, entry.subject),
        tuple(entry.details.items()),
        when_text(entry.noted_at, moment_of(now_us(), visit.zone), visit.zone),
        views.iso(entry.noted_at),
    )


route_handlers = (show_audit,)
