"""A plugin's own addresses for programs and scripts: what a request brings, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from chatserver.domain.access import Actor

T = TypeVar("T")


class ApiAnswer(msgspec.Struct, frozen=True):
    """told: written as JSON, unless there is a body, which goes as it is. Both None: nothing is sent but the head.

    headers: in lower case; one that the house sets by itself, as its content policy, stands instead of the house's.
    """

    told: Any = None
    status: int = 200
    body: bytes | None = None
    media_type: str = "application/json"
    headers: dict[str, str] = {}


class ApiVisit(Protocol):
    """One request of an account that is signed in or sent a key, and has the route's permission.

    path: the places in the route's path. query: the last value of each name; listed: all of them. headers: by name in
    lower case. origin: the scheme and host this server was reached by. read: the body as JSON of this shape; raises
    BadInput, status 422.
    """

    actor: Actor
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    origin: str

    def listed(self, name: str) -> list[str]: ...
    def read(self, shape: type[T]) -> T: ...
