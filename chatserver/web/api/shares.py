"""Shares over the API: make a link, list one's own, revoke."""

from __future__ import annotations

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, JSONBody

from chatserver.domain.shares import Share, ShareScope
from chatserver.web.api.request import ApiRequest, actor_of, house_of
from chatserver.web.door import own_address


class NewShareIn(msgspec.Struct, forbid_unknown_fields=True):
    """tip: where the branch ends, and where the link opens; the stored tip when absent. expires_in_s: absent for a
    link that lasts until it is revoked. reasoning: show what the model thought as well."""

    tip: str | None = None
    scope: ShareScope = "path"
    expires_in_s: int | None = None
    title: str = ""
    reasoning: bool = False


class NewShareOut(msgspec.Struct):
    """url: shown once, only its hash is kept."""

    id: str
    url: str
    expires_at: int | None


class ShareOut(msgspec.Struct):
    """last_four: what the link ends with. messages: how many were shared."""

    id: str
    conversation_id: str
    tip: str
    scope: ShareScope
    title: str
    reasoning: bool
    messages: int
    last_four: str
    created_at: int
    expires_at: int | None


class ShareList(msgspec.Struct):
    shares: list[ShareOut]


def _share(share: Share) -> ShareOut:
    return ShareOut(
        share.id,
        share.conversation_id,
        share.tip_id,
        share.scope,
        share.title,
        share.thoughts,
        share.messages,
        share.last_four,
        share.created_at,
        share.expires_at,
    )


@post("/conversations/{conversation_id:str}/shares", status_code=201, opt={"permission": "chat.share"})
async def share_conversation(
    request: ApiRequest, conversation_id: FromPath[str], data: JSONBody[NewShareIn | None] = None
) -> NewShareOut:
    """A snapshot of a branch (scope path) or of the whole tree, at an address nobody can guess. What is written later
    never shows in it."""
    wanted = data or NewShareIn()
    made = await house_of(request).shares.create(
        actor_of(request),
        conversation_id,
        wanted.tip,
        wanted.scope,
        title=wanted.title,
        thoughts=wanted.reasoning,
        expires_in_s=wanted.expires_in_s,
    )
    return NewShareOut(made.share.id, f"{own_address(request)}/s/{made.secret}", made.share.expires_at)


@get("/shares")
async def list_shares(request: ApiRequest) -> ShareList:
    """One's own links, the newest first."""
    return ShareList([_share(share) for share in await house_of(request).shares.list(actor_of(request))])


@delete("/shares/{share_id:str}", status_code=204)
async def revoke_share(request: ApiRequest, share_id: FromPath[str]) -> None:
    """The link opens nothing from now on; who has it open loses it within five seconds."""
    await house_of(request).shares.revoke(actor_of(request), share_id)


route_handlers = (
    share_conversation,
    list_shares,
    revoke_share,
)
