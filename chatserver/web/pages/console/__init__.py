"""The console: what admins see and change of the house as a whole, each page in a file of its own."""

from chatserver.web.pages.console import channels, models, notices, overview

route_handlers = (
    *overview.route_handlers,
    *models.route_handlers,
    *channels.route_handlers,
    *notices.route_handlers,
)
