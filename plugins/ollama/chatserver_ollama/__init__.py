"""The plugin's hooks: a provider for Ollama, found on this machine, and the settings it reads."""

from __future__ import annotations

from chatserver import ChannelOffer, Context, Provider, Setting, hookimpl
from chatserver_ollama.provider import LOCAL_URL, OllamaProvider

_provider = OllamaProvider()


@hookimpl()
def register_settings() -> list[Setting]:
    return [
        Setting(
            name="host",
            help="Where Ollama is, as in 127.0.0.1:11434. Without it, this machine is looked at now and then.",
            env="OLLAMA_HOST",
        ),
        Setting(name="api_key", help="A key, where Ollama is served behind one.", kind="secret", env="OLLAMA_API_KEY"),
        Setting(
            name="context_tokens",
            help="How much every model reads, when Ollama was started with that. Without it, as much as a chat needs.",
            kind="number",
            default="0",
            env="OLLAMA_CONTEXT_LENGTH",
        ),
    ]


# After the others: whoever has a vendor's key as well finds the vendor's models first.
@hookimpl(order=200)
def register_providers() -> list[Provider]:
    return [_provider]


@hookimpl(order=200)
def register_channel_offers() -> list[ChannelOffer]:
    return [ChannelOffer("ollama", "Ollama", LOCAL_URL, needs_key=False)]


@hookimpl()
async def startup(ctx: Context) -> None:
    _provider.configure(
        str(ctx.settings["host"] or ""), ctx.secret("api_key") or "", int(ctx.settings["context_tokens"] or 0)
    )
