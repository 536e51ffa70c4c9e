"""The plugin's hooks: a provider for any OpenAI-compatible endpoint, and the two settings it reads."""

from __future__ import annotations

from chatserver import ChannelOffer, Context, Provider, Setting, hookimpl
from chatserver_openai.provider import VENDOR_URL, OpenAIProvider

_provider = OpenAIProvider()


@hookimpl()
def register_settings() -> list[Setting]:
    return [
        Setting(
            name="api_key",
            help="The endpoint's key. With it, a channel named openai is there without being written down.",
            kind="secret",
            env="OPENAI_API_KEY",
        ),
        Setting(
            name="base_url",
            help="Where the endpoint is, as in http://127.0.0.1:11434/v1; alone it is enough for one without a key.",
            env="OPENAI_BASE_URL",
        ),
    ]


@hookimpl()
def register_providers() -> list[Provider]:
    return [_provider]


@hookimpl()
def register_channel_offers() -> list[ChannelOffer]:
    """Those people have keys for, the vendor first; the address of any other is typed in."""
    return [
        ChannelOffer("openai", "OpenAI", VENDOR_URL),
        ChannelOffer("openai", "OpenRouter", "https://openrouter.ai/api/v1"),
        ChannelOffer("openai", "DeepSeek", "https://api.deepseek.com/v1"),
        ChannelOffer("openai", "Mistral", "https://api.mistral.ai/v1"),
        ChannelOffer("openai", "Groq", "https://api.groq.com/openai/v1"),
        ChannelOffer("openai", "LM Studio", "http://127.0.0.1:1234/v1", needs_key=False),
        ChannelOffer("openai", "vLLM, llama.cpp, LiteLLM, new-api …", "", needs_key=False),
    ]


@hookimpl()
async def startup(ctx: Context) -> None:
    _provider.configure(ctx.secret("api_key") or "", str(ctx.settings["base_url"]))
