"""A tree as a whole over the API: its branches, their names, and forks."""

from __future__ import annotations

import msgspec
from litestar import get, post, put
from litestar.params import FromPath, FromQuery, JSONBody

from chatserver.domain.conversations import ForkScope
from chatserver.web.api.conversations import ConversationOut, conversation_out
from chatserver.web.api.request import ApiRequest, actor_of, house_of


class BranchOut(msgspec.Struct):
    """tip: the message it ends at. start: the first one below the last fork. messages, tokens: from the root down."""

    tip: str
    start: str
    name: str
    messages: int
    tokens: int
    current: bool


class BranchList(msgspec.Struct):
    branches: list[BranchOut]


class BranchName(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class ForkWish(msgspec.Struct, forbid_unknown_fields=True):
    """scope: this path only, the path with all below the message, or the whole tree."""

    message_id: str
    scope: ForkScope = "path"
    title: str = ""


@get("/conversations/{conversation_id:str}/branches")
async def list_branches(
    request: ApiRequest, conversation_id: FromPath[str], tip: FromQuery[str | None] = None
) -> BranchList:
    """Every branch, the one that ends at `tip` (the stored one when absent) first, then the newest."""
    mapped = await house_of(request).branches.map(actor_of(request), conversation_id, tip, limit=1)
    return BranchList(
        [
            BranchOut(
                branch.tip_id,
                branch.start_id,
                mapped.name_of(branch),
                branch.messages,
                branch.tokens,
                branch.is_current,
            )
            for branch in mapped.map.branches
        ]
    )


@put("/messages/{message_id:str}/branch-name")
async def name_branch(request: ApiRequest, message_id: FromPath[str], data: JSONBody[BranchName]) -> BranchName:
    """Name the branch a message is on; an empty name takes it away."""
    return BranchName(await house_of(request).branches.name(actor_of(request), message_id, data.name))


@post("/conversations/{conversation_id:str}/fork", status_code=201)
async def fork_conversation(
    request: ApiRequest, conversation_id: FromPath[str], data: JSONBody[ForkWish]
) -> ConversationOut:
    """A conversation of its own from a message on."""
    actor, house = actor_of(request), house_of(request)
    await house.conversations.view(actor, conversation_id, data.message_id, limit=1)
    return conversation_out(await house.branches.fork(actor, data.message_id, data.scope, data.title))


route_handlers = (list_branches, name_branch, fork_conversation)
