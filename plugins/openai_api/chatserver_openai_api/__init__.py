"""The served API: `/v1` in the formats that other people's clients speak. One object of this class per server."""

from __future__ import annotations

from typing import Any

from chatserver import Context, Endpoint, hookimpl
from chatserver_openai_api import failure
from chatserver_openai_api.completions import Completions
from chatserver_openai_api.embeddings import Embeddings
from chatserver_openai_api.listing import Listing
from chatserver_openai_api.messages import Messages
from chatserver_openai_api.speech import SpeechSounds
from chatserver_openai_api.transcriptions import Transcriptions

MEBIBYTE = 1_048_576
CHAT_MAX_BYTES = 32 * MEBIBYTE
"""Pictures come inside the request; Anthropic's own bound is the same."""
TEXTS_MAX_BYTES = 8 * MEBIBYTE
RECORDING_MAX_BYTES = 26 * MEBIBYTE
"""OpenAI takes 25 MB of a recording; the form around it is small."""


class OpenAIAPI:
    """The plugin's hooks; each address is in the file named after it."""

    def __init__(self) -> None:
        self.completions = Completions()
        self.messages = Messages()
        self.embeddings = Embeddings()
        self.listing = Listing()
        self.speech = SpeechSounds()
        self.transcriptions = Transcriptions()

    @hookimpl
    def register_endpoints(self) -> list[Endpoint]:
        ours, theirs = failure.write_openai, failure.write_anthropic
        own: dict[str, Any] = {"body_max_bytes": CHAT_MAX_BYTES, "key_header": "x-api-key", "id_header": "request-id"}
        return [
            Endpoint("/v1/chat/completions", self.completions, ours, body_max_bytes=CHAT_MAX_BYTES),
            Endpoint("/v1/embeddings", self.embeddings, ours, body_max_bytes=TEXTS_MAX_BYTES),
            Endpoint("/v1/audio/speech", self.speech, ours),
            Endpoint("/v1/audio/transcriptions", self.transcriptions, ours, body_max_bytes=RECORDING_MAX_BYTES),
            Endpoint("/v1/models", self.listing.show_all, ours, methods=("GET",), key_header="x-api-key"),
            Endpoint("/v1/models/", self.listing.show_one, ours, methods=("GET",), key_header="x-api-key"),
            Endpoint("/v1/messages", self.messages, theirs, **own),
            Endpoint("/v1/messages/count_tokens", self.messages.count, theirs, **own),
            Endpoint("/v1/messages/", failure.nothing_here, theirs, methods=failure.ANY, **own),
            Endpoint("/v1/", failure.nothing_here, ours, methods=failure.ANY, key_header="x-api-key"),
        ]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        for one in (
            self.completions,
            self.messages,
            self.embeddings,
            self.listing,
            self.speech,
            self.transcriptions,
        ):
            one.open(ctx)
