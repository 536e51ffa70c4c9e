"""The body of a request, read whole before anybody looks at it: not too large, not too deep, and text where due."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from chatserver.errors import BadInput, ChatserverError

BODY_MAX_BYTES = 1_048_576
DRAIN_MAX_BYTES = 33_554_432
"""A body that is too large is still swallowed up to here, so that the client reads our answer and not a reset."""
DEPTH_MAX = 64
FIELDS_MAX = 1000

Receive = Callable[[], Awaitable[dict[str, Any]]]

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
"""A string, also one that never ends: each byte is looked at once, whatever is sent."""
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_FORM_TOKEN = re.compile(rb"(?:^|&)csrf=([A-Za-z0-9_-]{1,100})(?:&|$)")
_PART_TOKEN = re.compile(rb'name="csrf"\r\n\r\n([A-Za-z0-9_-]{1,100})\r\n')


class ClientGone(Exception):
    """The client left before its request was whole; there is nobody to answer."""


class TooLarge(ChatserverError):
    code = "too_large"
    status = 413


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], limit_bytes: int = BODY_MAX_BYTES) -> bytes:
    """The whole body. Raises TooLarge, or ClientGone."""
    announced = headers.get(b"content-length", b"")
    too_large = announced.isdigit() and int(announced) > limit_bytes
    if too_large and int(announced) > DRAIN_MAX_BYTES:
        raise _too_large(limit_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            too_large = True
            pieces.clear()
            if size > DRAIN_MAX_BYTES:
                raise _too_large(limit_bytes)
        elif piece:
            pieces.append(piece)
        if not message.get("more_body", False):
            break
    if too_large:
        raise _too_large(limit_bytes)
    return b"".join(pieces)


def replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that hands out the body once, then whatever comes after."""
    given = False

    async def again() -> dict[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def check_text(body: bytes, content_type: bytes) -> None:
    """Refuse what a decoder would stumble over. Raises BadInput; multipart is left to its parser."""
    if content_type.startswith(b"multipart/"):
        return
    try:
        body.decode()
    except UnicodeDecodeError:
        raise BadInput("The body is not valid UTF-8.") from None
    if not content_type.startswith(b"application/x-www-form-urlencoded"):
        check_depth(body)
    elif body.count(b"&") >= FIELDS_MAX:
        raise BadInput("The form has more than %(most)s fields.", values={"most": FIELDS_MAX})


def check_depth(body: bytes) -> None:
    """Refuse JSON nested deeper than any of ours is. Raises BadInput."""
    if body.count(b"[") + body.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for mark in _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS):
        if mark in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise BadInput("The body is nested more than %(most)s deep.", values={"most": DEPTH_MAX})
        else:
            depth -= 1


def form_token(body: bytes, content_type: bytes) -> str:
    """The `csrf` field of a form, without parsing the rest."""
    if content_type.startswith(b"application/x-www-form-urlencoded"):
        found = _FORM_TOKEN.search(body)
    elif content_type.startswith(b"multipart/form-data"):
        found = _PART_TOKEN.search(body)
    else:
        return ""
    return found[1].decode() if found else ""


def _too_large(limit_bytes: int) -> TooLarge:
    return TooLarge("The body is larger than %(most)s KiB. Send less at once.", values={"most": limit_bytes // 1024})
