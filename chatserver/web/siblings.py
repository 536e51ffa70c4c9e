"""The worker processes of one server tell each other their figures, so that whichever is asked answers for all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import structlog

from chatserver.domain.figures import Family, Sample

PATIENCE_S = 1.0
LIMIT_BYTES = 16_000_000
LABEL = "worker"

log = structlog.get_logger("chatserver.siblings")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[Family, ...]).decode


class Siblings:
    """A worker among others. folder: theirs alone, with a socket each; number: this one's place."""

    def __init__(self, folder: Path, number: int) -> None:
        self._folder = folder
        self._number = number
        self._server: asyncio.Server | None = None

    async def start(self, read: Callable[[], Sequence[Family]]) -> None:
        """From now on the others may ask. read: what this worker counts."""

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                writer.write(_encode([one for one in read() if not one.is_shared]))
                await writer.drain()
            writer.close()

        path = self._path(self._number)
        path.unlink(missing_ok=True)  # of the one who had this place before
        self._server = await asyncio.start_unix_server(answer, path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path(self._number).unlink(missing_ok=True)

    async def merge(self, own: Sequence[Family]) -> list[Family]:
        """All workers' families with the label `worker`; what is the same for all is told once, without it. One that
        does not answer in time is left out."""
        numbers = sorted(int(path.stem) for path in self._folder.glob("*.sock"))
        others = [number for number in numbers if number != self._number]
        told = await asyncio.gather(*(self._ask(number) for number in others))
        shared = [one for one in own if one.is_shared]
        return [*merged([(self._number, own), *zip(others, told, strict=True)]), *shared]

    async def _ask(self, number: int) -> Sequence[Family]:
        try:
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(self._path(number), limit=LIMIT_BYTES)
                try:
                    return _decode(await reader.read(-1))
                finally:
                    writer.close()
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            log.warning("worker_not_heard", number=number, reason=error)
            return ()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.sock"


def merged(told: Sequence[tuple[int, Sequence[Family]]]) -> list[Family]:
    """One family a name, in order of the names; each sample says whose it is."""
    families: dict[str, Family] = {}
    for number, said in told:
        for one in said:
            if one.is_shared:
                continue
            mine = tuple(
                Sample(sample.suffix, (*sample.labels, (LABEL, str(number))), sample.value) for sample in one.samples
            )
            known = families.get(one.name)
            samples = (*known.samples, *mine) if known is not None else mine
            families[one.name] = msgspec.structs.replace(known or one, samples=samples)
    return [families[name] for name in sorted(families)]
