"""Somebody else who listens: an address an admin named that speaks OpenAI's /audio/transcriptions."""

from __future__ import annotations

import asyncio
import re
import secrets
from pathlib import Path
from typing import Any

import msgspec

from chatserver import (
    Actor,
    BadInput,
    Context,
    EgressResponse,
    ListenRequest,
    Migration,
    NotFound,
    Passage,
    Transcript,
    UpstreamError,
    check_address,
)
from chatserver import gettext as _

MIGRATIONS = [
    Migration(
        "0001_first",
        (
            "CREATE TABLE dictation_address (id TEXT PRIMARY KEY, title TEXT NOT NULL, base_url TEXT NOT NULL,"
            " sealed_key TEXT NOT NULL, model TEXT NOT NULL)",
        ),
    )
]
ONLY = "only"
FIRST_S = 60.0
TOTAL_S = 600.0
LONGEST_BYTES = 25_000_000
BYTES_PER_S = 3_000
"""Of a browser's recording: what is taken for its length where the address does not tell."""


class Address(msgspec.Struct, frozen=True):
    """Where recordings are sent. sealed_key: '' where none is wanted; bound to the address it was stored with."""

    id: str
    title: str
    base_url: str
    sealed_key: str
    model: str


class Segment(msgspec.Struct):
    start: float = 0.0
    end: float = 0.0
    text: str = ""


class Told(msgspec.Struct):
    """Its answer, as far as it is read."""

    text: str
    language: str | None = None
    duration: float | None = None
    segments: list[Segment] | None = None


_decode = msgspec.json.Decoder(Told, strict=False).decode
_CODES = {"english": "en", "french": "fr", "chinese": "zh", "german": "de", "spanish": "es", "japanese": "ja"}
"""Some answer with a language's name in English; of another one than these nobody is told."""
CODE_MOST = 3


class Elsewhere:
    """The row, and the transcriber that asks the address in it."""

    name = "address"
    title = "At an address"

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    async def is_ready(self) -> bool:
        return await self.address() is not None

    async def address(self) -> Address | None:
        return await self._ctx.db.read(
            lambda tx: tx.one(
                Address, "SELECT id, title, base_url, sealed_key, model FROM dictation_address WHERE id = :id", id=ONLY
            )
        )

    async def keep(self, actor: Actor, *, title: str, base_url: str, model: str, key: str) -> None:
        """Instead of the one there was. Raises BadInput when it cannot be spoken with."""
        base_url = check_address(base_url)
        row = Address(ONLY, title, base_url, self._ctx.vault.seal(key, _place(base_url)) if key else "", model)
        check(row)

        def put(tx: Any) -> int:
            return int(
                tx.run(
                    "INSERT INTO dictation_address (id, title, base_url, sealed_key, model)"
                    " VALUES (:id, :title, :base_url, :sealed_key, :model) ON CONFLICT (id) DO UPDATE SET"
                    " title = :title, base_url = :base_url, sealed_key = :sealed_key, model = :model",
                    **msgspec.structs.asdict(row),
                )
            )

        await self._ctx.audit.write(put, actor, "address_set", row.id, url=row.base_url)

    async def remove(self, actor: Actor) -> None:
        """Raises NotFound when there is none."""

        def delete(tx: Any) -> int:
            return int(tx.run("DELETE FROM dictation_address WHERE id = :id", id=ONLY))

        if not await self._ctx.audit.write(delete, actor, "address_removed", ONLY):
            raise NotFound

    async def transcribe(self, request: ListenRequest) -> Transcript:
        address = await self.address()
        if address is None:
            raise NotFound
        if request.size_bytes > LONGEST_BYTES:
            raise BadInput("The recording is larger than 25 MB. Cut it into pieces.", code="too_long")
        content = await asyncio.to_thread(Path(request.path).read_bytes)
        status, body = await self._ask(address, request, content, "verbose_json")
        if status == 400:  # newer models tell the text alone
            status, body = await self._ask(address, request, content, "json")
        if status in (400, 413, 415, 422):
            raise BadInput("This is no recording that can be read there. Send WAV, MP3 or WebM.", code="no_recording")
        if status != 200:
            raise UpstreamError(
                f"{address.title} answered with status {status}. Try again in a moment.",
                kind="key_refused" if status in (401, 403) else "server",
                retryable=status >= 500 or status == 429,
                upstream_status=status,
            )
        return _transcript(address, body, len(content))

    async def _ask(self, address: Address, request: ListenRequest, content: bytes, form: str) -> tuple[int, bytes]:
        key = self._ctx.vault.open(address.sealed_key, _place(address.base_url)) if address.sealed_key else ""
        fields = {"model": address.model, "response_format": form}
        fields |= {"language": request.language} if request.language else {}
        fields |= {"prompt": request.prompt} if request.prompt else {}
        media_type, body = write_form(fields, request.name, content)
        asked = self._ctx.http.request(
            "POST",
            f"{address.base_url.rstrip('/')}/audio/transcriptions",
            headers={"Content-Type": media_type, **({"Authorization": f"Bearer {key}"} if key else {})},
            body=body,
            profile="channel",
            first_byte_s=FIRST_S,
            gap_s=FIRST_S,
            total_s=TOTAL_S,
        )
        async with asked as answer:
            return answer.status, await _read(answer)


async def _read(answer: EgressResponse) -> bytes:
    return await answer.read(4_000_000)


def write_form(fields: dict[str, str], name: str, content: bytes) -> tuple[str, bytes]:
    """The media type and the body of a form with a file."""
    boundary = secrets.token_hex(16)
    safe = re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)[-80:] or "recording"
    pieces = [
        f'--{boundary}\r\ncontent-disposition: form-data; name="{field}"\r\n\r\n{text}\r\n'.encode()
        for field, text in fields.items()
    ]
    head = f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="{safe}"\r\n'
    pieces += [f"{head}content-type: application/octet-stream\r\n\r\n".encode(), content]
    return f"multipart/form-data; boundary={boundary}", b"".join([*pieces, f"\r\n--{boundary}--\r\n".encode()])


def check(address: Address) -> None:
    """Raises BadInput, status 422."""
    if not address.title or len(address.title) > 80:
        raise BadInput(_("Give it a title of at most 80 characters."), code="bad_title", status=422)
    if not address.model or len(address.model) > 100:
        raise BadInput(_("Name the model as the address knows it."), code="bad_model", status=422)


def _place(base_url: str) -> str:
    """What a key is bound to: it is sent to the address it was stored with, and to no other."""
    return f"address {base_url}"


def _transcript(address: Address, body: bytes, size_bytes: int) -> Transcript:
    try:
        told = _decode(body)
    except msgspec.MsgspecError as error:
        raise UpstreamError(
            f"{address.title} answered with something that is no transcript.", kind="server", retryable=False
        ) from error
    language = (told.language or "").lower()
    passages = tuple(Passage(one.start, one.end, one.text.strip()) for one in told.segments or ())
    seconds = told.duration if told.duration is not None else max(1.0, size_bytes / BYTES_PER_S)
    code = language if len(language) <= CODE_MOST else _CODES.get(language, "")
    return Transcript(told.text.strip(), code, seconds, passages)
