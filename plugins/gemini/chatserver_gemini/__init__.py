"""The plugin's hooks: a provider for the Gemini API, and the two settings it reads."""

from __future__ import annotations

from chatserver import ChannelOffer, Context, Provider, Setting, hookimpl
from chatserver_gemini.provider import VENDOR_URL, GeminiProvider

_provider = GeminiProvider()


@hookimpl()
def register_settings() -> list[Setting]:
    return [
        Setting(
            name="api_key",
            help="Google's key for Gemini. With it, a channel named gemini is there without being written down.",
            kind="secret",
            env="GEMINI_API_KEY",
        ),
        Setting(
            name="base_url",
            help="Where the API is, when not at Google itself.",
            default=VENDOR_URL,
            env="GEMINI_BASE_URL",
        ),
    ]


@hookimpl()
def register_providers() -> list[Provider]:
    return [_provider]


@hookimpl()
def register_channel_offers() -> list[ChannelOffer]:
    return [ChannelOffer("gemini", "Google Gemini", VENDOR_URL)]


@hookimpl()
async def startup(ctx: Context) -> None:
    _provider.configure(ctx.secret("api_key") or "", str(ctx.settings["base_url"]))
