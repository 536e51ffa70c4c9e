"""The address of a service, as somebody typed it into a form: read in one way by plugins and by the house."""

from __future__ import annotations

from urllib.parse import urlsplit

from chatserver.errors import BadInput

URL_LIMIT = 500


def check_address(text: str) -> str:
    """The address without the slash at its end, to which paths are added. Raises BadInput `bad_address`, status 422."""
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.username
        is_good = is_good and (parts.port or 1) > 0 and len(address) <= URL_LIMIT and address.isprintable()
        is_good = is_good and not parts.query and not parts.fragment and " " not in address
    except ValueError:
        is_good = False
    if not is_good:
        raise BadInput(
            "The address must look like https://api.example.org/v1. Correct it and try again.",
            code="bad_address",
            status=422,
        )
    return address
