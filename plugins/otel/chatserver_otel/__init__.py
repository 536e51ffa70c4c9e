"""Sends a span for each request, turn, call and attempt to an OpenTelemetry collector."""

from __future__ import annotations

from chatserver import Context, Setting, Span, hookimpl
from chatserver_otel.sender import COLLECTOR, Sender

_sender: Sender | None = None


@hookimpl
def register_settings() -> list[Setting]:
    return [
        Setting(
            "endpoint",
            "Where the collector takes OTLP over HTTP, as http://127.0.0.1:4318. Empty: nothing is sent.",
            env="OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        Setting("headers", "Sent along, as name=value,name=value.", kind="secret", env="OTEL_EXPORTER_OTLP_HEADERS"),
        Setting("service", "The name of this service.", default="chatserver", env="OTEL_SERVICE_NAME"),
    ]


@hookimpl
async def startup(ctx: Context) -> None:
    global _sender
    _sender = Sender(ctx) if ctx.settings["endpoint"] else None
    if _sender is not None:
        _sender.start()
    else:
        await ctx.notices.clear(COLLECTOR)  # told when there was an address


@hookimpl
async def spans_ended(spans: tuple[Span, ...]) -> None:
    if _sender is not None:
        _sender.add(spans)


@hookimpl
async def shutdown() -> None:
    if _sender is not None:
        await _sender.stop()
