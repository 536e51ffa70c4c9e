"""Where a chat is kept: folders, nested once, and tags; and the narrowing of a list or a search to some of them."""

from __future__ import annotations

from typing import Literal

import msgspec

from chatserver.domain.messages import Role

NAME_LIMIT = 60
TAG_LIMIT = 40
TAGS_LIMIT = 12
FOLDERS_LIMIT = 200
BATCH_LIMIT = 200
"""Chats that one request may move, tag, archive or delete."""

Deed = Literal["archive", "unarchive", "pin", "unpin", "delete", "move", "tag", "untag"]


class Folder(msgspec.Struct, frozen=True):
    """parent_id None: at the top. chats: how many lie in it, archived and temporary ones left out."""

    id: str
    name: str
    parent_id: str | None = None
    chats: int = 0


class Tag(msgspec.Struct, frozen=True):
    name: str
    chats: int


class ListFilter(msgspec.Struct, frozen=True):
    """Which chats a list shows. folder_id None: of all folders, '' of none. tag '' and pinned None: whatever."""

    archived: bool = False
    pinned: bool | None = None
    folder_id: str | None = None
    tag: str = ""


class SearchFilter(msgspec.Struct, frozen=True):
    """Which hits a search shows; '' and 0 narrow nothing. Times in microseconds UTC, until not included."""

    model: str = ""
    role: Role | Literal[""] = ""
    folder_id: str = ""
    tag: str = ""
    since: int = 0
    until: int = 0
