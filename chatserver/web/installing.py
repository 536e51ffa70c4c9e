"""What makes the page an app on a phone: a service worker for static files, and an honest page without a server."""

from __future__ import annotations

import msgspec
from litestar import Response, Router, get

from chatserver.web import assets, templating
from chatserver.web.views import Frame


@get("/sw.js", opt={"public": True})
async def show_worker() -> Response[bytes]:
    """The service worker, which only an address at the root may be; asked for anew by browsers now and then."""
    files = [*assets.stylesheets(""), *assets.stylesheets("", "pages")]
    head = b"const VERSION = %s\nconst FILES = %s\n" % (
        msgspec.json.encode("-".join(assets.digests())),
        msgspec.json.encode(files),
    )
    body = head + (assets.STATIC / "worker.js").read_bytes()
    return Response(body, media_type="text/javascript")


@get("/offline", opt={"public": True})
async def show_offline() -> Response[bytes]:
    """Kept by the worker, and shown where the server cannot be reached; it holds nothing of anybody's."""
    return Response(templating.render("offline.html", frame=Frame()).encode(), media_type="text/html")


router = Router("/", route_handlers=[show_worker, show_offline], include_in_schema=False)
