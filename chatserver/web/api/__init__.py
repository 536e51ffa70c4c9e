"""The JSON API: what the page can do, for scripts and other people's programs."""

from litestar import Router

from chatserver.web.api import (
    account,
    branches,
    conversations,
    exports,
    feedback,
    files,
    folders,
    messages,
    shares,
    turns,
)

api = Router(
    "/api",
    route_handlers=[
        *conversations.route_handlers,
        *messages.route_handlers,
        *branches.route_handlers,
        *turns.route_handlers,
        *feedback.route_handlers,
        *shares.route_handlers,
        *exports.route_handlers,
        *folders.route_handlers,
        *files.route_handlers,
        *account.route_handlers,
    ],
)
