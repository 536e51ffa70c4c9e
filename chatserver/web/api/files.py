"""Files over the API: bring one in, look at it, list them, take one away. Their content is at /files/{id}."""

from __future__ import annotations

import dataclasses

import msgspec
from litestar import delete, get, post
from litestar.openapi.spec import OpenAPIFormat, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, FromQuery

from chatserver.domain.files import FileKind, StoredFile
from chatserver.errors import BadInput
from chatserver.web.api.request import ApiRequest, actor_of, house_of
from chatserver.web.forms import arrived_in
from chatserver.web.pages.files import bring_in


class FileOut(msgspec.Struct):
    """type: found by looking at it. kind: how a model gets it: `image`, `text`, or `document`, of which it gets the
    name. size: bytes, of pictures as they are kept. width and height: of pictures, else 0."""

    id: str
    name: str
    type: str
    size: int
    kind: FileKind
    created_at: int
    width: int = 0
    height: int = 0


class FileList(msgspec.Struct):
    """used_bytes: of the space in limit_bytes, 0 for no limit."""

    files: list[FileOut]
    next: str | None
    used_bytes: int
    limit_bytes: int


def file_out(file: StoredFile) -> FileOut:
    return FileOut(
        file.id, file.name, file.media_type, file.size_bytes, file.kind, file.created_at, file.width, file.height
    )


@dataclasses.dataclass
class TakesFile(Operation):
    """The form is read at the door (web/forms.py), so the description has to be told of it."""

    def __post_init__(self) -> None:
        file = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        form = Schema(type=OpenAPIType.OBJECT, properties={"file": file}, required=["file"])
        self.request_body = RequestBody({"multipart/form-data": OpenAPIMediaType(form)}, required=True)


@post("/files", status_code=201, operation_class=TakesFile)
async def create_file(request: ApiRequest) -> FileOut:
    """Bring a file in: a multipart form with one `file`. Pictures are written anew; what was brought in and not sent
    within a day is taken away."""
    if len(arrived_in(request, "file")) != 1:
        raise BadInput("Send a multipart form with one file in the field `file`.", code="no_file")
    (file,) = await bring_in(request, "file")
    return file_out(file)


@get("/files")
async def list_files(request: ApiRequest, after: FromQuery[str] = "") -> FileList:
    """One's files, the newest first. after: `next` of the page before."""
    files, following = await house_of(request).files.list(actor_of(request), after)
    space = await house_of(request).files.space(actor_of(request))
    return FileList([file_out(file) for file in files], following, space.used_bytes, space.limit_bytes)


@get("/files/{file_id:str}")
async def get_file(request: ApiRequest, file_id: FromPath[str]) -> FileOut:
    return file_out(await house_of(request).files.get(actor_of(request), file_id))


@delete("/files/{file_id:str}", status_code=204)
async def delete_file(request: ApiRequest, file_id: FromPath[str]) -> None:
    """Take away a file that no message holds; 409 `file_in_use` for another."""
    await house_of(request).files.delete(actor_of(request), file_id)


route_handlers = (
    create_file,
    list_files,
    get_file,
    delete_file,
)
