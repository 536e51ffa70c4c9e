"""What can go wrong on the way out, told in sentences that hold no secret."""

from __future__ import annotations

import errno
import ssl

import aiohttp
from yarl import URL

from chatserver.errors import UpstreamError

CONNECTION_LOST = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    aiohttp.http_exceptions.HttpProcessingError,
)


class AddressRefused(UpstreamError):
    """The URL names a place this profile never connects to."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        super().__init__(message, kind="bad_request", retryable=retryable)
        self.code = "address_refused"


def cut_off(url: URL, status: int) -> UpstreamError:
    return UpstreamError(
        f"{place_of(url)} closed the connection in the middle of its answer.",
        kind="cut",
        retryable=True,
        upstream_status=status,
    )


def place_of(url: URL) -> str:
    """Host and port alone: a path, query or user name may hold a secret."""
    host = url.raw_host or "?"
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def unreachable(url: URL, why: str) -> UpstreamError:
    return UpstreamError(f"{place_of(url)} could not be reached: {why}.", kind="connect", retryable=True)


def too_slow(url: URL, what: str, status: int = 0) -> UpstreamError:
    return UpstreamError(f"{place_of(url)} {what}.", kind="timeout", retryable=True, upstream_status=status)


def tell_ssl(error: aiohttp.ClientSSLError) -> str:
    inner = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else None
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        certificate = error.certificate_error
        if isinstance(certificate, ssl.SSLCertVerificationError):
            return f"its certificate was not accepted ({certificate.verify_message})"
        return "its certificate was not accepted"
    return f"no secure connection could be made{' (' + inner.reason + ')' if isinstance(inner, ssl.SSLError) else ''}"


def tell_os(error: OSError) -> str:
    if error.errno == errno.ECONNREFUSED:
        return "nothing listens there"
    return (error.strerror or "the connection failed").lower().rstrip(".")
