"""Which MCP servers there are: what the file or the environment names, checked at the start."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from chatserver import Setting, SetupError

NAME = re.compile(r"[a-z][a-z0-9-]{0,23}")
SERVERS_MAX = 32
SETTINGS = [
    Setting(
        name="servers",
        help="MCP servers, each `name=url`, with spaces or lines between them.",
        env="CHATSERVER_MCP_SERVERS",
    ),
    Setting(
        name="tokens",
        help="What is sent to them as a bearer token, each `name=token`, with spaces or lines between them.",
        kind="secret",
        env="CHATSERVER_MCP_TOKENS",
    ),
]


class ServerAddress(msgspec.Struct, frozen=True):
    """A server as it was written down. The token goes to this url only, and into no repr."""

    name: str
    url: str
    token: str = ""

    def __repr__(self) -> str:
        return f"ServerAddress({self.name!r}, {self.url!r})"


def read_servers(servers: str, tokens: str) -> list[ServerAddress]:
    """Raises SetupError, with a sentence that holds no token."""
    urls = _pairs(servers, "servers")
    secrets = _pairs(tokens, "tokens")
    for name, url in urls.items():
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SetupError(f"[plugins.mcp] servers: {name} has no address that begins with http:// or https://.")
    for name in secrets:
        if name not in urls:
            raise SetupError(f"[plugins.mcp] tokens: there is no server named {name!r}.")
    if len(urls) > SERVERS_MAX:
        raise SetupError(f"[plugins.mcp] servers: there are {len(urls)}, and at most {SERVERS_MAX} are read.")
    return [ServerAddress(name, url, secrets.get(name, "")) for name, url in urls.items()]


def _pairs(text: str, setting: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, pair in enumerate(text.split(), 1):
        name, is_there, value = pair.partition("=")
        if not is_there or not value or not NAME.fullmatch(name):
            raise SetupError(
                f"[plugins.mcp] {setting}: entry {number} is not `name=…`, named by lower-case letters, digits and -."
            )
        if name in found:
            raise SetupError(f"[plugins.mcp] {setting}: {name!r} stands there twice.")
        found[name] = value
    return found
