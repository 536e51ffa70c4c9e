"""The pages below /x/presets/: the list, making and editing, versions, deleting and taking back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from chatserver import BadInput, NotFound, PageAnswer, PageFiles, PageVisit, Route
from chatserver import gettext as _
from chatserver_presets.chip import fields_of, line_of
from chatserver_presets.preset import EFFORTS, Content, Preset, read_parameters
from chatserver_presets.shelf import Shelf

HERE = Path(__file__).parent
FILES = PageFiles(str(HERE / "templates"), str(HERE / "static"))
HOME = "/x/presets/"
POST = ("POST",)


class Typed(msgspec.Struct, frozen=True):
    """What stands in the form: what was saved, or what somebody typed and may have got wrong."""

    name: str = ""
    before: str = ""
    after: str = ""
    model: str = ""
    temperature: str = ""
    max_output: str = ""
    effort: str = ""


class Pages:
    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def routes(self) -> list[Route]:
        return [
            Route("/", page=self.show_list),
            Route("/new", page=self.show_new),
            Route("/new", page=self.create, methods=POST),
            Route("/chip", page=self.show_chip),
            Route("/{preset}", page=self.show),
            Route("/{preset}", page=self.save, methods=POST),
            Route("/{preset}/versions", page=self.show_versions),
            Route("/{preset}/versions/{number}", page=self.show_version),
            Route("/{preset}/versions/{number}/restore", page=self.restore_version, methods=POST),
            Route("/{preset}/delete", page=self.delete, methods=POST),
            Route("/{preset}/restore", page=self.restore, methods=POST),
        ]

    async def show_list(self, visit: PageVisit) -> PageAnswer:
        owner = visit.actor.account_id
        presets = await self._shelf.all(owner)
        gone = visit.query.get("deleted", "")
        return await visit.page(
            "list.html",
            presets=[(line_of(preset), visit.when(preset.changed_at)) for preset in presets],
            deleted=await self._shelf.find_deleted(owner, gone) if gone else None,
        )

    async def show_new(self, visit: PageVisit) -> PageAnswer:
        return await self._editor(visit, Typed())

    async def create(self, visit: PageVisit) -> PageAnswer:
        typed = typed_in(visit.form)
        try:
            preset_id = await self._shelf.create(visit.actor.account_id, content_of(typed))
        except BadInput as error:
            return await self._editor(visit, typed, problem=error)
        return visit.go(f"{HOME}{preset_id}?saved=1")

    async def show(self, visit: PageVisit) -> PageAnswer:
        preset = await self._preset(visit)
        news = _("Saved as version {number}.").format(number=preset.version) if "saved" in visit.query else ""
        return await self._editor(visit, typed_of(preset.content), preset=preset, news=news)

    async def save(self, visit: PageVisit) -> PageAnswer:
        preset = await self._preset(visit)
        typed = typed_in(visit.form)
        try:
            await self._shelf.save(visit.actor.account_id, preset.id, content_of(typed))
        except BadInput as error:
            return await self._editor(visit, typed, preset=preset, problem=error)
        return visit.go(f"{HOME}{preset.id}?saved=1")

    async def show_versions(self, visit: PageVisit) -> PageAnswer:
        preset = await self._preset(visit)
        versions = await self._shelf.versions(visit.actor.account_id, preset.id)
        return await visit.page(
            "versions.html", preset=preset, versions=[(one, visit.when(one.saved_at)) for one in versions]
        )

    async def show_version(self, visit: PageVisit) -> PageAnswer:
        preset = await self._preset(visit)
        version = await self._shelf.find_version(visit.actor.account_id, preset.id, _number(visit))
        if version is None:
            raise NotFound(_("There is no such version."))
        return await visit.page(
            "version.html", preset=preset, version=version, saved=visit.when(version.saved_at), efforts=effort_names()
        )

    async def restore_version(self, visit: PageVisit) -> PageAnswer:
        """An older version becomes the newest, as a version of its own."""
        preset = await self._preset(visit)
        version = await self._shelf.find_version(visit.actor.account_id, preset.id, _number(visit))
        if version is None:
            raise NotFound(_("There is no such version."))
        await self._shelf.save(visit.actor.account_id, preset.id, version.content)
        return visit.go(f"{HOME}{preset.id}?saved=1")

    async def delete(self, visit: PageVisit) -> PageAnswer:
        await self._shelf.delete(visit.actor.account_id, visit.path["preset"])
        return visit.go(f"{HOME}?deleted={visit.path['preset']}")

    async def restore(self, visit: PageVisit) -> PageAnswer:
        await self._shelf.restore(visit.actor.account_id, visit.path["preset"])
        return visit.go(HOME)

    async def show_chip(self, visit: PageVisit) -> PageAnswer:
        """The chip of a preset, for the message box of a page that is open."""
        preset = await self._shelf.find(visit.actor.account_id, visit.query.get("id", ""))
        if preset is None:
            raise NotFound(_("There is no such preset."))
        return visit.fragment("chip.html", picked=preset, fields=fields_of(preset, {}), is_new=False)

    async def _preset(self, visit: PageVisit) -> Preset:
        return await self._shelf.get(visit.actor.account_id, visit.path["preset"])

    async def _editor(
        self,
        visit: PageVisit,
        typed: Typed,
        *,
        preset: Preset | None = None,
        problem: BadInput | None = None,
        news: str = "",
    ) -> PageAnswer:
        return await visit.page(
            "edit.html",
            preset=preset,
            typed=typed,
            models=visit.models,
            is_model_gone=bool(typed.model) and all(model.id != typed.model for model in visit.models),
            efforts=effort_names(),
            news=news,
            problem=problem,
        )


def effort_names() -> dict[str, str]:
    """Reasoning efforts as one reads them."""
    return dict(zip(EFFORTS, (_("Low"), _("Medium"), _("High")), strict=True))


def typed_in(form: Mapping[str, str]) -> Typed:
    return Typed(*(form.get(name, "").replace("\r\n", "\n") for name in Typed.__struct_fields__))


def typed_of(content: Content) -> Typed:
    parameters = content.parameters
    temperature = "" if parameters.temperature is None else f"{parameters.temperature:g}"
    max_output = str(parameters.max_output or "")
    return Typed(
        content.name,
        content.before,
        content.after,
        content.model,
        temperature,
        max_output,
        parameters.reasoning_effort,
    )


def content_of(typed: Typed) -> Content:
    """Raises BadInput."""
    parameters = read_parameters(typed.temperature, typed.max_output, typed.effort)
    return Content(typed.name, typed.before, typed.after, typed.model[:200], parameters)


def _number(visit: PageVisit) -> int:
    text = visit.path["number"]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0
