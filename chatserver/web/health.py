"""What machines ask: is it up, may it have work, how busy is it."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, get
from litestar.datastructures import State

from chatserver.errors import ChatserverError, Refused
from chatserver.house import House
from chatserver.web import metrics
from chatserver.web.errors import NotSignedIn
from chatserver.web.security import is_loopback
from chatserver.web.siblings import Siblings

PlainRequest = Request[Any, Any, State]
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@get("/healthz", opt={"public": True})
async def show_health() -> Response[str]:
    return Response("ok\n", media_type="text/plain")


@get("/readyz", opt={"public": True})
async def show_readiness(request: PlainRequest) -> Response[str]:
    """200 when this node takes new turns; 503 while it drains, or when its database does not answer."""
    house: House = request.app.state.house
    if house.is_draining:
        return _not_ready("draining\n")
    try:
        await house.accounts.has_admin()
    except ChatserverError:
        return _not_ready("the database does not answer\n")
    return Response("ready\n", media_type="text/plain")


@get("/metrics", opt={"public": True})
async def show_metrics(request: PlainRequest) -> Response[str]:
    """Prometheus text, for an admin, or for a peer on this machine that no proxy stands before."""
    actor = request.scope["state"]["actor"]
    peer = (request.scope.get("client") or ("", 0))[0]
    is_local = is_loopback(peer) and not any(name in request.headers for name in FORWARDED)
    if not is_local and actor is None:
        raise NotSignedIn
    if not is_local and not actor.is_admin:
        raise Refused("Only an admin may read the metrics.")
    house: House = request.app.state.house
    await house.gauges.look()
    families = house.meters.families()
    siblings: Siblings | None = request.app.state.siblings
    if siblings is not None:
        families = await siblings.merge(families)
    return Response(metrics.write_text(families), media_type=metrics.MEDIA_TYPE)


def _not_ready(text: str) -> Response[str]:
    return Response(text, status_code=503, headers={"retry-after": "5"}, media_type="text/plain")


router = Router("/", route_handlers=[show_health, show_readiness, show_metrics], include_in_schema=False)
