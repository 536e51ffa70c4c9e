"""The chat page and its neighbours: HTML routes that answer htmx with fragments and everybody else with whole pages."""

from chatserver.web.pages import (
    asking,
    branches,
    commands,
    comparing,
    connecting,
    context,
    conversations,
    filing,
    looking,
    messages,
    my_data,
    searching,
    settings,
    shared,
    sharing,
    temporary,
)

route_handlers = (
    *looking.route_handlers,
    *searching.route_handlers,
    *asking.route_handlers,
    *messages.route_handlers,
    *branches.route_handlers,
    *comparing.route_handlers,
    *context.route_handlers,
    *conversations.route_handlers,
    *filing.route_handlers,
    *commands.route_handlers,
    *settings.route_handlers,
    *connecting.route_handlers,
    *sharing.route_handlers,
    *shared.route_handlers,
    *my_data.route_handlers,
    *temporary.route_handlers,
)
