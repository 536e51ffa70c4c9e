"""The headers every response carries, also the ones that tell of an error."""

from __future__ import annotations

from collections.abc import Iterable

from chatserver.web.security import Origin

Header = tuple[bytes, bytes]

CONTENT_SECURITY_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    b"media-src 'self' blob:; font-src 'self'; connect-src 'self'; form-action 'self'; frame-src 'self'; "
    b"base-uri 'none'; object-src 'none'; frame-ancestors 'none'; manifest-src 'self'; worker-src 'self'"
)
DEFAULTS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), payment=(), usb=(), microphone=(self)"),
    (b"cache-control", b"no-store"),
)
STRICT_TRANSPORT: Header = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


def default_headers(origin: Origin) -> tuple[Header, ...]:
    """The defaults for a server at this address.

    A browser that may send no referrer sends `Origin: null` with a form as well, and over plain http to anything but
    the machine itself no Sec-Fetch-Site either: there the referrer is kept to our own site instead of to nobody.
    """
    if origin.is_https:
        return (*DEFAULTS, STRICT_TRANSPORT)
    if origin.is_public:
        return tuple((name, b"same-origin" if name == b"referrer-policy" else value) for name, value in DEFAULTS)
    return DEFAULTS


def with_defaults(headers: Iterable[Header], defaults: tuple[Header, ...]) -> list[Header]:
    """The response's own headers, and each default it did not set itself."""
    own = list(headers)
    names = {name.lower() for name, _ in own}
    return own + [header for header in defaults if header[0] not in names]
