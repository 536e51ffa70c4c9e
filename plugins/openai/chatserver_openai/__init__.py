"""The plugin's hooks: a provider for any OpenAI-compatible endpoint, and the two settings it reads."""

from __future__ import annotations

from chatserver import Context, Provider, Setting, hookimpl
from chatserver_openai.provider import OpenAIProvider

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
async def startup(ctx: Context) -> None:
    _provider.configure(ctx.secret("api_key") or "", str(ctx.settings["base_url"]))
