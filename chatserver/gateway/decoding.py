"""Bodies that come compressed, inflated step by step."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable
from typing import Any

from chatserver.errors import UpstreamError

INFLATE_STEP_BYTES = 65_536


def open_decoder(encoding: str, place: str) -> Callable[[bytes], Iterable[bytes]] | None:
    """Inflates in steps, so that a bomb is noticed before it has gone off; None for a body that is not compressed."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in ("gzip", "x-gzip", "deflate"):
        raise UpstreamError(f"{place} answered in an encoding nobody asked for.", kind="server", retryable=False)
    inflater: Any = None

    def inflate(data: bytes) -> Iterable[bytes]:
        nonlocal inflater
        try:
            while data:
                if inflater is None:
                    is_raw = name == "deflate" and (data[0] & 0x0F) != 8
                    inflater = zlib.decompressobj(-zlib.MAX_WBITS if is_raw else zlib.MAX_WBITS | 32)
                piece = inflater.decompress(data, INFLATE_STEP_BYTES)
                if piece:
                    yield piece
                data = inflater.unconsumed_tail
                if inflater.eof:
                    data, inflater = inflater.unused_data, None
                    if name == "deflate" or not data.startswith(b"\x1f\x8b"):
                        return
        except zlib.error:
            raise UpstreamError(
                f"{place} answered with a body that cannot be decoded.", kind="server", retryable=False
            ) from None

    return inflate
