"""Where an Ollama is: the forms OLLAMA_HOST may have, and the addresses of its API below a channel's base."""

from __future__ import annotations

import urllib.parse

PORT = 11434
_EVERYWHERE = ("0.0.0.0", "::", "")
_PATHS = ("/api/chat", "/api", "/v1")


def read_host(text: str) -> str:
    """A URL from what Ollama itself would read: a host, a port, both, or a URL. What it listens on everywhere is asked
    for on this machine. '' for what is no address."""
    text = text.strip().strip("\"'")
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    try:
        parts = urllib.parse.urlsplit(f"{scheme}://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if not text or scheme not in ("http", "https"):
        return ""
    if host in _EVERYWHERE:
        host = "127.0.0.1"
    usual = PORT if not separator else {"http": 80, "https": 443}[scheme]
    port = port or usual
    place = f"[{host}]" if ":" in host else host
    if not (separator and port == usual):
        place = f"{place}:{port}"
    return f"{scheme}://{place}{parts.path.rstrip('/')}"


def below(base_url: str, path: str) -> str:
    """`path` of the API; the base may be written as for another format, or with the path of a request."""
    parts = urllib.parse.urlsplit(base_url.strip())
    base = parts.path.rstrip("/")
    for ending in _PATHS:
        base = base.removesuffix(ending)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, base + path, "", ""))
