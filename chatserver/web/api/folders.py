"""Folders over the API: list, make, change, remove; which chat lies where is the conversation's own."""

from __future__ import annotations

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, JSONBody

from chatserver.domain.filing import Folder
from chatserver.web.api.request import ApiRequest, actor_of, house_of


class NewFolder(msgspec.Struct, forbid_unknown_fields=True):
    """parent_id: a folder at the top, null or absent for one beside those."""

    name: str
    parent_id: str | None = None


class FolderChange(msgspec.Struct, forbid_unknown_fields=True):
    """Only what is given changes."""

    name: str | None = None
    parent_id: str | msgspec.UnsetType | None = msgspec.UNSET


class FolderOut(msgspec.Struct):
    id: str
    name: str
    parent_id: str | None
    chats: int


class FolderList(msgspec.Struct):
    folders: list[FolderOut]


def _folder(folder: Folder) -> FolderOut:
    return FolderOut(folder.id, folder.name, folder.parent_id, folder.chats)


@get("/folders")
async def list_folders(request: ApiRequest) -> FolderList:
    """One's folders, each at the top followed by those in it."""
    return FolderList([_folder(one) for one in await house_of(request).filing.folders(actor_of(request))])


@post("/folders", status_code=201)
async def make_folder(request: ApiRequest, data: JSONBody[NewFolder]) -> FolderOut:
    return _folder(await house_of(request).filing.make_folder(actor_of(request), data.name, data.parent_id))


@patch("/folders/{folder_id:str}")
async def change_folder(request: ApiRequest, folder_id: FromPath[str], data: JSONBody[FolderChange]) -> FolderOut:
    """Rename it, or put it into another one."""
    return _folder(
        await house_of(request).filing.change_folder(actor_of(request), folder_id, data.name, data.parent_id)
    )


@delete("/folders/{folder_id:str}", status_code=204)
async def remove_folder(request: ApiRequest, folder_id: FromPath[str]) -> None:
    """Remove a folder; the chats and folders in it stay, at the top."""
    await house_of(request).filing.remove_folder(actor_of(request), folder_id)


route_handlers = (list_folders, make_folder, change_folder, remove_folder)
