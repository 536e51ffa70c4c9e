"""Dictation: Whisper on this machine, and a microphone in the message box. One object of this class per server."""

from __future__ import annotations

from chatserver import Context, PageFiles, Route, Setting, SlotContext, Transcriber, hookimpl
from chatserver_dictation.microphone import FILES, Microphone
from chatserver_dictation.whisper import SETTINGS, Whisper


class Dictation:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.whisper = Whisper()
        self.microphone = Microphone()

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return SETTINGS

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [FILES]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return self.microphone.routes()

    @hookimpl
    def register_transcribers(self) -> list[Transcriber]:
        return [self.whisper]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        self.whisper.open(ctx)
        self.microphone.open(ctx)

    @hookimpl
    async def shutdown(self) -> None:
        await self.whisper.close()

    @hookimpl
    def render_slot(self, context: SlotContext) -> str | None:
        return self.microphone.render() if context.slot == "composer.tools" else None
