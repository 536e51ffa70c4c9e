"""Pictures of voices at addresses: written anew by the house, kept as content of the plugin, gone with their voice."""

from __future__ import annotations

import re
from typing import Any

from chatserver import Actor, ApiAnswer, ApiVisit, ArrivedFile, Context, NotFound, Route

PLACE = "/x/voices/pictures/"
_HASH = re.compile(r"[0-9a-f]{64}")


class Pictures:
    """A picture's address holds the hash of its content, so that a browser may keep it for ever."""

    def open(self, ctx: Context) -> None:
        self._ctx = ctx

    def routes(self) -> list[Route]:
        return [Route("/pictures/{sha256}", api=self.show)]

    async def put(self, actor: Actor, voice_id: str, file: ArrivedFile) -> None:
        """Instead of the one there was. Raises BadInput for what is no picture, NotFound."""
        picture = await self._ctx.files.rewrite_picture(file.path)
        sha256 = await self._ctx.blobs.put(picture.content)
        if not await self._change(actor, "picture_set", voice_id, f"{PLACE}{sha256}"):
            await self.drop(f"{PLACE}{sha256}")
            raise NotFound

    async def take_away(self, actor: Actor, voice_id: str) -> None:
        """Raises NotFound when the voice has none."""
        if not await self._change(actor, "picture_removed", voice_id, ""):
            raise NotFound

    async def drop(self, address: str) -> None:
        """The content of a picture that a voice showed, unless another voice shows it, too."""
        if address.startswith(PLACE) and not await self._is_shown(address):
            await self._ctx.blobs.drop(address.removeprefix(PLACE))

    async def show(self, visit: ApiVisit) -> ApiAnswer:
        """GET: for everybody who may see the list of voices."""
        sha256 = visit.path["sha256"]
        if not _HASH.fullmatch(sha256) or not await self._is_shown(f"{PLACE}{sha256}"):
            raise NotFound
        content = b"".join([chunk async for chunk in self._ctx.blobs.read(sha256)])
        headers = {
            "cache-control": "private, max-age=31536000, immutable",
            "content-security-policy": "sandbox; default-src 'none'",
        }
        return ApiAnswer(body=content, media_type="image/webp", headers=headers)

    async def _change(self, actor: Actor, action: str, voice_id: str, address: str) -> bool:
        """False: there is no such voice, or nothing to take away."""
        before: list[str] = []

        def change(tx: Any) -> int:
            before[:] = tx.all(str, "SELECT picture FROM voices_endpoints WHERE id = :id", id=voice_id)
            if before == [""] and not address:
                return 0
            return int(
                tx.run("UPDATE voices_endpoints SET picture = :address WHERE id = :id", address=address, id=voice_id)
            )

        is_changed = bool(await self._ctx.audit.write(change, actor, action, voice_id))
        if is_changed and before[0] != address:
            await self.drop(before[0])
        return is_changed

    async def _is_shown(self, address: str) -> bool:
        shown = await self._ctx.db.read(
            lambda tx: tx.one(int, "SELECT 1 FROM voices_endpoints WHERE picture = :address LIMIT 1", address=address)
        )
        return shown is not None
