"""Reading aloud: voices, and the button on each message. One object of this class per server."""

from __future__ import annotations

from chatserver import (
    AccountErased,
    Context,
    Delivery,
    JobSpec,
    Migration,
    NavItem,
    PageFiles,
    Route,
    Setting,
    SlotContext,
    Speaker,
    hookimpl,
)
from chatserver import gettext as _
from chatserver_voices.clips import Clips
from chatserver_voices.endpoints import Endpoints
from chatserver_voices.espeak import SETTINGS, Espeak
from chatserver_voices.pages import FILES, Pages
from chatserver_voices.pictures import Pictures
from chatserver_voices.reading import Reading
from chatserver_voices.tables import MIGRATIONS

DAY_S = 86_400


class Voices:
    """The plugin's hooks, each a line; what they do is in the file named after it."""

    def __init__(self) -> None:
        self.espeak = Espeak()
        self.pictures = Pictures()
        self.endpoints = Endpoints(self.pictures)
        self.clips = Clips()
        self.reading = Reading(self.clips)
        self.pages = Pages(self.endpoints, self.pictures, self.reading)

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
    def register_voices(self) -> list[Speaker]:
        return [self.espeak, self.endpoints]

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [*self.reading.routes(), *self.pictures.routes(), *self.pages.routes()]

    @hookimpl
    def register_jobs(self) -> list[JobSpec]:
        return [JobSpec("voices.forget", self.reading.forget_old, every_s=DAY_S)]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        for one in (self.espeak, self.pictures, self.endpoints, self.clips, self.reading, self.pages):
            one.open(ctx)

    @hookimpl(events=(AccountErased,))
    async def handle_event(self, delivery: Delivery) -> None:
        if isinstance(delivery.event, AccountErased):
            await self.reading.forget(delivery.event.account_id)

    @hookimpl
    async def admin_pages(self) -> list[NavItem]:
        return [NavItem(_("Voices"), "/x/voices/admin", "volume-2")]

    @hookimpl(slots=("message.actions", "settings.page"))
    async def render_slot(self, context: SlotContext) -> str | None:
        return await self.reading.render(context)
