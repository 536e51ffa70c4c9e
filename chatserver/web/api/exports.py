"""What one may take away over the API: one chat as a file, or all there is."""

from __future__ import annotations

from typing import Annotated

from litestar import get
from litestar.params import FromPath, FromQuery, QueryParameter
from litestar.response import Stream

import chatserver
from chatserver.clock import now_us
from chatserver.domain.exports import ExportFormat
from chatserver.domain.transcripts import TranscriptScope
from chatserver.web import downloads, views
from chatserver.web.api.request import ApiRequest, actor_of, house_of


@get("/conversations/{conversation_id:str}/export")
async def export_conversation(
    request: ApiRequest,
    conversation_id: FromPath[str],
    format: FromQuery[ExportFormat] = "md",
    which: Annotated[TranscriptScope, QueryParameter(name="scope")] = "path",
    tip: FromQuery[str] = "",
    reasoning: FromQuery[bool] = False,
) -> Stream:
    """A branch (down to tip, else to the stored tip) or the whole tree as Markdown, as HTML that needs nothing else, or
    as JSON that can be imported again. scope: path or tree. reasoning: with what the model thought and had done;
    JSON always holds it."""
    house, actor = house_of(request), actor_of(request)
    transcript = await house.transcripts.open(actor, conversation_id, which, tip or None)
    settings = await house.accounts.settings(actor)
    reading = downloads.Reading(
        {model.id: model.title for model in house.models(actor)},
        views.zone_of(str(settings.get("timezone", ""))),
        reasoning,
        transcript.has_versions,
    )
    await house.audit.note(actor, "chat_exported", conversation_id, format=format)
    return Stream(
        downloads.write(transcript, format, reading),
        media_type=downloads.MEDIA_TYPES[format],
        headers={
            "content-disposition": downloads.disposition(views.title_of(transcript.conversation), format),
            "content-security-policy": downloads.POLICY,
        },
    )


@get("/account/export", opt={"permission": ""})
async def export_account(request: ApiRequest, packed: FromQuery[bool] = True) -> Stream:
    """All of one's conversations, whole trees, as JSON Lines (docs/export-format.md); packed with gzip, or not."""
    house, actor = house_of(request), actor_of(request)
    pieces = house.own_exports.open(actor, f"chatserver {chatserver.__version__}")
    await house.audit.note(actor, "account_exported")
    day = views.iso(now_us())[:10]
    return Stream(
        downloads.pack(pieces) if packed else pieces,
        media_type="application/gzip" if packed else "application/jsonl; charset=utf-8",
        headers={
            "content-disposition": downloads.disposition(f"chatserver {day}", "jsonl.gz" if packed else "jsonl"),
            "content-security-policy": downloads.POLICY,
        },
    )


route_handlers = (
    export_conversation,
    export_account,
)
