"""The console: what admins see and change of the house as a whole, each page in a file of its own."""

from chatserver.web.pages.console import accounts, audit, channels, models, notices, overview, plugins, settings

route_handlers = (
    *overview.route_handlers,
    *models.route_handlers,
    *channels.route_handlers,
    *accounts.route_handlers,
    *plugins.route_handlers,
    *settings.route_handlers,
    *audit.route_handlers,
    *notices.route_handlers,
)
