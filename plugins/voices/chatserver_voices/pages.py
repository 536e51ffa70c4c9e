"""Two pages: one's own voice and speed, and for admins the voices at other addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatserver import BadInput, Context, PageAnswer, PageFiles, PageVisit, Route
from chatserver import gettext as _
from chatserver_voices.endpoints import Endpoint, Endpoints
from chatserver_voices.pictures import Pictures
from chatserver_voices.reading import DEFAULT, SPEEDS, Choice, Reading, usable

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))
POST = ("POST",)
ADMIN = "admin.console"
LIGHT: Any = {"methods": POST, "permission": ADMIN, "is_light": True}
FIELDS = ("id", "title", "base_url", "model", "voice", "languages", "groups", "formats")
SAID = ("title", "languages", "groups", "formats")
"""What may be changed of a voice that is there."""


class Pages:
    def __init__(self, endpoints: Endpoints, pictures: Pictures, reading: Reading) -> None:
        self._endpoints = endpoints
        self._pictures = pictures
        self._reading = reading

    def open(self, ctx: Context) -> None:
        self._speech = ctx.speech

    def routes(self) -> list[Route]:
        return [
            Route("/", page=self.show),
            Route("/", page=self.choose, methods=POST),
            Route("/bar", page=self.show_bar),
            Route("/admin", page=self.show_admin, permission=ADMIN),
            Route("/admin", page=self.add, methods=POST, permission=ADMIN),
            Route("/admin/{voice}", page=self.change, methods=POST, permission=ADMIN),
            Route("/admin/{voice}/remove", page=self.remove, methods=POST, permission=ADMIN),
            Route("/admin/{voice}/picture", page=self.set_picture, takes_files=True, **LIGHT),
            Route("/admin/{voice}/picture/remove", page=self.drop_picture, **LIGHT),
        ]

    async def show(self, visit: PageVisit) -> PageAnswer:
        return await self._own(visit, news=_("Saved.") if "saved" in visit.query else "")

    async def choose(self, visit: PageVisit) -> PageAnswer:
        voices = await self._speech.voices(visit.actor)
        wanted = visit.form.get("voice", DEFAULT)
        allowed = {DEFAULT, *(one.voice.id for one in voices if one.is_mine)}
        try:
            speed = float(visit.form.get("speed", "1"))
        except ValueError:
            speed = 0.0
        if wanted not in allowed or speed not in SPEEDS:
            problem = BadInput(_("Pick a voice and a speed of the list."), code="bad_voice", status=422)
            return await self._own(visit, problem=problem)
        await self._reading.choose(visit.actor.account_id, Choice(wanted, speed))
        return visit.go("/x/voices/?saved=1")

    async def show_bar(self, visit: PageVisit) -> PageAnswer:
        choice = await self._reading.choice_of(visit.actor.account_id)
        return visit.fragment("bar.html", choice=choice, speeds=SPEEDS)

    async def show_admin(self, visit: PageVisit) -> PageAnswer:
        return await self._admin(visit, {})

    async def add(self, visit: PageVisit) -> PageAnswer:
        typed = {name: visit.form.get(name, "").strip() for name in FIELDS}
        endpoint = Endpoint(**{**typed, **_listed(typed), "picture": "", "sealed_key": "", "made_at": 0})
        try:
            await self._endpoints.add(visit.actor, endpoint, visit.form.get("key", "").strip())
        except BadInput as error:
            return await self._admin(visit, typed, problem=error)
        return visit.go("/x/voices/admin")

    async def change(self, visit: PageVisit) -> PageAnswer:
        """What is said of a voice; what was typed is not lost when it cannot be kept."""
        voice_id = visit.path["voice"]
        typed = {name: visit.form.get(name, "").strip() for name in SAID}
        try:
            await self._endpoints.change(visit.actor, voice_id, **{**typed, **_listed(typed)})
        except BadInput as error:
            return await self._admin(visit, {}, problem=error, changed={voice_id: typed})
        return visit.go("/x/voices/admin")

    async def remove(self, visit: PageVisit) -> PageAnswer:
        await self._endpoints.remove(visit.actor, visit.path["voice"])
        return visit.go("/x/voices/admin")

    async def set_picture(self, visit: PageVisit) -> PageAnswer:
        """Of a voice; a form with a file of its own, so that the key is not typed again for it."""
        files = visit.arrived("picture")
        try:
            if len(files) != 1:
                raise BadInput(_("Pick a picture first, then press the button."), code="no_file", status=422)
            await self._pictures.put(visit.actor, visit.path["voice"], files[0])
        except BadInput as error:
            return await self._admin(visit, {}, problem=error)
        return visit.go("/x/voices/admin")

    async def drop_picture(self, visit: PageVisit) -> PageAnswer:
        await self._pictures.take_away(visit.actor, visit.path["voice"])
        return visit.go("/x/voices/admin")

    async def _own(self, visit: PageVisit, *, news: str = "", problem: Exception | None = None) -> PageAnswer:
        voices = await self._speech.voices(visit.actor)
        choice = await self._reading.choice_of(visit.actor.account_id)
        return await visit.page(
            "own.html",
            news=news,
            problem=problem,
            voices=voices,
            choice=usable(choice, [one.voice.id for one in voices if one.is_mine]),
            speeds=SPEEDS,
        )

    async def _admin(
        self,
        visit: PageVisit,
        typed: dict[str, str],
        *,
        problem: Exception | None = None,
        changed: dict[str, dict[str, str]] | None = None,
    ) -> PageAnswer:
        return await visit.page(
            "admin.html",
            problem=problem,
            typed={**dict.fromkeys(FIELDS, ""), **typed},
            changed=changed or {},
            endpoints=await self._endpoints.all(),
            others=[one.voice for one in await self._speech.voices(visit.actor)],
        )


def _listed(typed: dict[str, str]) -> dict[str, str]:
    return {name: " ".join(typed[name].replace(",", " ").split()) for name in ("languages", "groups", "formats")}
