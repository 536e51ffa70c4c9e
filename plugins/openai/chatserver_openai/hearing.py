"""An answer's events, one by one or all in one body, made into deltas; errors among them are raised."""

from __future__ import annotations

import msgspec

from chatserver import Channel, ProviderDelta
from chatserver.upstreams import failure_in_stream, kind_of, unreadable
from chatserver_openai.answer import Answer, Chunk, decode_chunk

DONE = b"[DONE]"


class Hearing:
    """Implements `chatserver.upstreams.Answer`. secrets: what an error may not repeat."""

    __slots__ = ("_answer", "_channel", "_secrets")

    def __init__(self, channel: Channel, secrets: tuple[str, ...]) -> None:
        self._answer = Answer()
        self._channel = channel
        self._secrets = secrets

    @property
    def finish(self) -> str:
        return self._answer.finish

    def take(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        """What does not begin like an object is somebody's heartbeat."""
        if event.startswith(DONE):
            return True
        if not event.lstrip().startswith(b"{"):
            return False
        try:
            chunk = decode_chunk(event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise unreadable(self._channel.name) from None
        self._answer.take(self._sound(chunk), deltas)
        return False

    def take_last(self, event: bytes, deltas: list[ProviderDelta]) -> bool:
        """The event the body ended in: half of one means the answer was cut, not that it is unreadable."""
        try:
            decode_chunk(event)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return event.startswith(DONE)
        return self.take(event, deltas)

    def take_whole(self, body: bytes, deltas: list[ProviderDelta]) -> None:
        try:
            chunk = decode_chunk(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise unreadable(self._channel.name, kind_of(body)) from None
        if not self._sound(chunk).choices:
            raise unreadable(self._channel.name, "an answer without content")
        self._answer.take(chunk, deltas)
        # A whole body came whole; a server that names no reason stopped because it was done.
        self._answer.finish = self._answer.finish or "stop"

    def close(self) -> list[ProviderDelta]:
        return self._answer.close()

    def _sound(self, chunk: Chunk) -> Chunk:
        if chunk.error:
            raise failure_in_stream(self._channel.name, chunk.error, secrets=self._secrets)
        return chunk
