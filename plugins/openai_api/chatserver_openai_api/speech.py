"""`POST /v1/audio/speech`: a text as sound, in the voices the site has."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chatserver import MEDIA_TYPES, Context
from chatserver_openai_api.failure import Wrong, decode_error
from chatserver_openai_api.listing import check_model
from chatserver_openai_api.sending import Watch, read_body

INPUT_MOST = 4096
MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts")
"""What clients call the model; here the voice decides everything."""
THEIR_VOICES = frozenset(
    "alloy ash ballad cedar coral echo fable marin nova onyx sage shimmer verse".split()  # what clients ask for unasked
)
Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]


class Asked(msgspec.Struct):
    """voice: one of the site's by its id, `default`, or an object with such an id."""

    input: str
    model: str = MODELS[0]
    voice: Any = "default"
    response_format: Format | None = None
    speed: float = 1.0


_decode = msgspec.json.Decoder(Asked).decode


class SpeechSounds:
    """The ASGI app."""

    def open(self, ctx: Context) -> None:
        self._speech = ctx.speech

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        try:
            asked = _decode(await read_body(receive))
        except msgspec.MsgspecError as error:
            raise decode_error(error) from None
        actor = scope["state"]["actor"]
        check_model(actor, asked.model, MODELS)
        if not asked.input.strip() or len(asked.input) > INPUT_MOST:
            raise Wrong(f"`input` is a text of 1 to {INPUT_MOST} characters.", "input")
        if not 0.25 <= asked.speed <= 4.0:
            raise Wrong("`speed` is between 0.25 and 4.", "speed")
        # mp3 where nothing is said, as everywhere; without an encoder here, whatever the voice can be heard in.
        formats = (asked.response_format,) if asked.response_format else ()
        voice = await self._voice(actor, asked.voice)
        async with (
            await self._speech.speak(actor, asked.input, voice_id=voice, formats=formats, speed=asked.speed) as speech,
            Watch(receive) as client,
        ):
            begun = False
            async for piece in speech.pieces():
                if client.is_gone:
                    return
                if not begun:
                    begun = True
                    headers = [(b"content-type", MEDIA_TYPES[speech.format].encode())]
                    await send({"type": "http.response.start", "status": 200, "headers": headers})
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            if not begun:
                raise Wrong("There is nothing in `input` that could be said.", "input")
            await send({"type": "http.response.body", "body": b""})

    async def _voice(self, actor: Any, given: Any) -> str:
        wanted = given.get("id") if isinstance(given, dict) else given
        if not isinstance(wanted, str) or not wanted:
            raise Wrong("`voice` is the name of a voice.", "voice")
        if wanted in THEIR_VOICES and all(one.voice.id != wanted for one in await self._speech.voices(actor)):
            return "default"
        return wanted
