"""What plugins print with: their own templates and files. The web sets it up; commands that show nothing go without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from chatserver.errors import SetupError

Render = Callable[..., str]
Address = Callable[[str, str], str]


class Press:
    """One per house, handed to every plugin in its own name."""

    def __init__(self) -> None:
        self._render: Render | None = None
        self._address: Address | None = None
        self._markdown: Callable[[str], str] | None = None

    def set_up(self, render: Render, address: Address, markdown: Callable[[str], str]) -> None:
        """render: a template by its whole name, with its values. address: of a static file, by plugin and name.
        markdown: HTML that may stand in a page."""
        self._render, self._address, self._markdown = render, address, markdown

    def of_plugin(self, name: str) -> PluginPress:
        return PluginPress(name, self)

    def print(self, template: str, values: dict[str, Any]) -> str:
        if self._render is None:
            raise SetupError(f"There is no page here to print {template} for.")
        return self._render(template, **values)

    async def markdown(self, text: str) -> str:
        if self._markdown is None:
            raise SetupError("There is no page here to write anything into.")
        return await asyncio.to_thread(self._markdown, text)

    def url(self, plugin: str, name: str) -> str:
        if self._address is None:
            raise SetupError(f"There is no page here to serve {name} to.")
        return self._address(plugin, name)


class PluginPress:
    """`ctx.pages`. render: HTML from a template of the plugin, escaped where it must be. url: where a static file of
    the plugin is served. markdown: a text as messages are shown, safe to stand in a page."""

    def __init__(self, plugin: str, press: Press) -> None:
        self._plugin = plugin
        self._press = press

    def render(self, template: str, **values: Any) -> str:
        return self._press.print(f"{self._plugin}/{template}", values)

    def url(self, name: str) -> str:
        return self._press.url(self._plugin, name)

    async def markdown(self, text: str) -> str:
        return await self._press.markdown(text)
