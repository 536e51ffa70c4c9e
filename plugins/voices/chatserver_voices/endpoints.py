"""Voices at addresses an admin named: anything that speaks OpenAI's /audio/speech, one's own trained voice included."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import msgspec

from chatserver import (
    Actor,
    AudioFormat,
    BadInput,
    Context,
    NotFound,
    SpeechRequest,
    UpstreamError,
    Voice,
    check_address,
    clock,
)
from chatserver import gettext as _
from chatserver_voices.pictures import Pictures

FORMATS: tuple[AudioFormat, ...] = ("mp3", "opus", "aac", "flac", "wav", "pcm")
FIRST_S = 30.0
TOTAL_S = 300.0
_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_encode = msgspec.json.Encoder().encode


class Endpoint(msgspec.Struct, frozen=True):
    """A voice elsewhere. sealed_key: '' where none is wanted; languages, groups, formats: separated by blanks. picture:
    its address on this server, '' for none."""

    id: str
    title: str
    base_url: str
    sealed_key: str
    model: str
    voice: str
    languages: str
    groups: str
    picture: str
    formats: str
    made_at: int

    def to_voice(self) -> Voice:
        formats: tuple[AudioFormat, ...] = tuple(one for one in FORMATS if one in self.formats.split()) or FORMATS
        return Voice(
            self.id,
            self.title,
            tuple(self.languages.split()),
            formats,
            tuple(self.groups.split()),
            self.picture,
        )


_COLUMNS = "id, title, base_url, sealed_key, model, voice, languages, groups, picture, formats, made_at"


class Endpoints:
    """The rows, and the speaker that asks the addresses in them."""

    name = "endpoints"

    def __init__(self, pictures: Pictures) -> None:
        self._pictures = pictures

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def all(self) -> list[Endpoint]:
        return await self._ctx.db.read(
            lambda tx: tx.all(Endpoint, f"SELECT {_COLUMNS} FROM voices_endpoints ORDER BY made_at, id")
        )

    async def add(self, actor: Actor, endpoint: Endpoint, key: str) -> None:
        """Raises BadInput when it cannot be spoken with, or its id is taken."""
        check(endpoint)
        endpoint = msgspec.structs.replace(endpoint, base_url=check_address(endpoint.base_url))
        row = msgspec.structs.replace(endpoint, sealed_key=self._seal(endpoint, key), made_at=clock.now_us())
        names = ", ".join(f":{name}" for name in Endpoint.__struct_fields__)

        def insert(tx: Any) -> int:
            return int(
                tx.run(
                    f"INSERT INTO voices_endpoints ({_COLUMNS}) VALUES ({names}) ON CONFLICT (id) DO NOTHING",
                    **msgspec.structs.asdict(row),
                )
            )

        if not await self._ctx.audit.write(insert, actor, "voice_added", row.id, url=row.base_url.partition("?")[0]):
            raise BadInput(_("There is a voice of this name already. Pick another name."), code="taken", status=422)

    async def change(
        self, actor: Actor, voice_id: str, *, title: str, languages: str, groups: str, formats: str
    ) -> None:
        """What is said of a voice, and who may use it. What speaks stays: sounds of it are kept by its name, and its
        key opens beside its address only. Raises NotFound, BadInput."""
        held = next((one for one in await self.all() if one.id == voice_id), None)
        if held is None:
            raise NotFound
        check(msgspec.structs.replace(held, title=title, languages=languages, groups=groups, formats=formats))

        def update(tx: Any) -> int:
            return int(
                tx.run(
                    "UPDATE voices_endpoints SET title = :title, languages = :languages, groups = :groups,"
                    " formats = :formats WHERE id = :id",
                    title=title,
                    languages=languages,
                    groups=groups,
                    formats=formats,
                    id=voice_id,
                )
            )

        if not await self._ctx.audit.write(update, actor, "voice_changed", voice_id, title=title, groups=groups):
            raise NotFound

    async def remove(self, actor: Actor, voice_id: str) -> None:
        """With its picture. Raises NotFound."""
        picture: list[str] = []

        def delete(tx: Any) -> int:
            picture[:] = tx.all(str, "SELECT picture FROM voices_endpoints WHERE id = :id", id=voice_id)
            return int(tx.run("DELETE FROM voices_endpoints WHERE id = :id", id=voice_id))

        if not await self._ctx.audit.write(delete, actor, "voice_removed", voice_id):
            raise NotFound
        await self._pictures.drop(picture[0])

    async def list_voices(self) -> Sequence[Voice]:
        return [one.to_voice() for one in await self.all()]

    async def speak(self, request: SpeechRequest) -> AsyncGenerator[bytes, None]:
        endpoint = next((one for one in await self.all() if one.id == request.voice.id), None)
        if endpoint is None:
            raise NotFound
        key = self._ctx.vault.open(endpoint.sealed_key, _place(endpoint)) if endpoint.sealed_key else ""
        body = {
            "model": endpoint.model,
            "voice": endpoint.voice,
            "input": request.text,
            "response_format": request.format,
            "speed": request.speed,
        }
        asked = self._ctx.http.request(
            "POST",
            f"{endpoint.base_url.rstrip('/')}/audio/speech",
            headers={"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})},
            body=_encode(body),
            profile="channel",
            first_byte_s=FIRST_S,
            gap_s=FIRST_S,
            total_s=TOTAL_S,
        )
        async with asked as answer:
            if answer.status != 200:
                raise UpstreamError(
                    f"The voice {endpoint.title} answered with status {answer.status}. Try again, or pick another one.",
                    kind="key_refused" if answer.status in (401, 403) else "server",
                    retryable=answer.status >= 500,
                    upstream_status=answer.status,
                )
            heard = False
            async for piece in answer.chunks():
                heard = heard or bool(piece)
                yield piece
            if not heard:
                raise UpstreamError(f"The voice {endpoint.title} said nothing.", kind="cut", retryable=True)

    def _seal(self, endpoint: Endpoint, key: str) -> str:
        return self._ctx.vault.seal(key, _place(endpoint)) if key else ""


def _place(endpoint: Endpoint) -> str:
    """What a key is bound to: it is sent to the address it was stored with, and to no other."""
    return f"{endpoint.id} {endpoint.base_url}"


def check(endpoint: Endpoint) -> None:
    """Raises BadInput, status 422."""
    if not endpoint.title.strip() or len(endpoint.title) > 80:
        raise BadInput(_("Give the voice a title of at most 80 characters."), code="bad_voice", status=422)
    if not _ID.fullmatch(endpoint.id) or endpoint.id == "default":
        raise BadInput(
            _("A name has small letters, digits, dots and dashes, at most 64; “default” is taken."),
            code="bad_voice",
            status=422,
        )
    if not endpoint.model or not endpoint.voice:
        raise BadInput(_("Name the model and the voice as the address knows them."), code="bad_voice", status=422)
    if unknown := [one for one in endpoint.formats.split() if one not in FORMATS]:
        raise BadInput(_("There is no format {format}.").format(format=unknown[0][:20]), code="bad_voice", status=422)
