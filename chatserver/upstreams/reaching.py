"""How an upstream is reached: a question under the channel's own times, and what it tells of itself under one bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from chatserver.domain.extend import Egress, EgressRequest
from chatserver.domain.models import Channel

MAX_LIST_BYTES = 10_000_000
MAX_ERROR_BYTES = 65_536
_encode = msgspec.json.Encoder().encode


def question(
    http: Egress,
    channel: Channel,
    url: str,
    body: Mapping[str, Any],
    credentials: Mapping[str, str],
    *,
    accept: str = "application/json",
) -> EgressRequest:
    """A JSON body to the upstream, to be entered; as patient as the channel says."""
    return http.request(
        "POST",
        url,
        headers={"Content-Type": "application/json", "Accept": accept, **credentials},
        body=_encode(body),
        profile="channel",
        first_byte_s=channel.first_token_s,
        gap_s=channel.gap_s,
        total_s=channel.total_s,
    )


def accepted(is_stream: bool) -> str:
    """What is asked for, whether the answer is to come in pieces or whole."""
    return "text/event-stream" if is_stream else "application/json"


async def fetch(
    http: Egress,
    url: str,
    credentials: Mapping[str, str],
    within_s: float,
    *,
    body: bytes = b"",
    limit_bytes: int = MAX_LIST_BYTES,
) -> tuple[int, Mapping[str, str], bytes]:
    """(status, headers, body) of what is told at once. Raises UpstreamError when it is not told in time."""
    kind = {"Content-Type": "application/json"} if body else {}
    asked = http.request(
        "POST" if body else "GET",
        url,
        headers={"Accept": "application/json", **kind, **credentials},
        body=body,
        profile="channel",
        first_byte_s=within_s,
        gap_s=within_s,
        total_s=within_s,
    )
    async with asked as response:
        return response.status, response.headers, await response.read(limit_bytes)
