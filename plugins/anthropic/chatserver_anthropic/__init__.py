"""The plugin's hooks: a provider for the Messages API, and the two settings it reads."""

from __future__ import annotations

from chatserver import ChannelOffer, Context, Provider, Setting, hookimpl
from chatserver_anthropic.provider import VENDOR_URL, AnthropicProvider

_provider = AnthropicProvider()


@hookimpl()
def register_settings() -> list[Setting]:
    return [
        Setting(
            name="api_key",
            help="Anthropic's key. With it, a channel named anthropic is there without being written down.",
            kind="secret",
            env="ANTHROPIC_API_KEY",
        ),
        Setting(
            name="base_url",
            help="Where the API is, when not at Anthropic itself.",
            default=VENDOR_URL,
            env="ANTHROPIC_BASE_URL",
        ),
    ]


@hookimpl()
def register_providers() -> list[Provider]:
    return [_provider]


@hookimpl()
def register_channel_offers() -> list[ChannelOffer]:
    return [ChannelOffer("anthropic", "Anthropic", VENDOR_URL)]


@hookimpl()
async def startup(ctx: Context) -> None:
    _provider.configure(ctx.secret("api_key") or "", str(ctx.settings["base_url"]))
