"""The plugin's hooks: offline voices, spoken by the program piper. One object of this class per server."""

from __future__ import annotations

from chatserver import Context, Setting, Speaker, hookimpl
from chatserver_piper.speaker import PiperSpeaker

SETTINGS = [
    Setting("voices", "A folder of NAME.onnx files, each with its NAME.onnx.json: every one is a voice"),
    Setting("order", "Where they stand among the voices; the lowest is the site's default", "number", "500"),
]


class Piper:
    def __init__(self) -> None:
        self.speaker = PiperSpeaker()

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return SETTINGS

    @hookimpl
    def register_voices(self) -> list[Speaker]:
        return [self.speaker]

    @hookimpl
    async def startup(self, ctx: Context) -> None:
        refused = await self.speaker.open(str(ctx.settings["voices"]), int(ctx.settings["order"]))
        for path, reason in refused:
            ctx.log.warning("piper_voice_refused", path=path, reason=reason)
