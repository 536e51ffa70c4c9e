"""Dictation: a microphone in the message box, and who writes down what it hears. One object of this class a server."""

from __future__ import annotations

from chatserver import Context, Migration, NavItem, PageFiles, Route, Setting, SlotContext, Transcriber, hookimpl
from chatserver import gettext as _
from chatserver_dictation.desk import Desk
from chatserver_dictation.elsewhere import MIGRATIONS, Elsewhere
from chatserver_dictation.microphone import FILES, Microphone
from chatserver_dictation.whisper import SETTINGS, Whisper


class Dictation:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.whisper = Whisper()
        self.elsewhere = Elsewhere()
        self.microphone = Microphone()
        self.desk = Desk(self.elsewhere, self.whisper)

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return SETTINGS

    @hookimpl
    def register_migrations(self) -> list[Migration]:
        return MIGRATIONS

    @hookimpl
    def register_pages(self) -> list[PageFiles]:
        return [FILES]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [*self.microphone.routes(), *self.desk.routes()]

    @hookimpl
    def register_transcribers(self) -> list[Transcriber]:
        return [self.elsewhere, self.whisper]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        for one in (self.whisper, self.elsewhere, self.microphone):
            one.open(ctx)

    @hookimpl
    async def shutdown(self) -> None:
        await self.whisper.close()

    @hookimpl
    async def admin_pages(self) -> list[NavItem]:
        return [NavItem(_("Dictation"), "/x/dictation/admin", "mic")]

    @hookimpl(slots=("composer.tools",))
    async def render_slot(self, context: SlotContext) -> str | None:
        return await self.microphone.render() if context.slot == "composer.tools" else None
