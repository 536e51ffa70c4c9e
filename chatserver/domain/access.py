"""Who asks, what they may do, and where they come from."""

from __future__ import annotations

from typing import Literal

import msgspec

Origin = Literal["web", "api", "job"]
AccountRole = Literal["admin", "member"]
AccountState = Literal["active", "suspended", "disabled"]
READ_SHARE = "share.read"
"""The one permission a share link carries."""


class Account(msgspec.Struct, frozen=True):
    """Someone who can sign in, or a service. `email` is lower case; `groups` holds at least `default`."""

    id: str
    email: str
    name: str
    role: AccountRole
    state: AccountState
    groups: tuple[str, ...]
    created_at: int


class AccountFilter(msgspec.Struct, frozen=True):
    """text: in the address or the name, '' for any; role, state: '' for all."""

    text: str = ""
    role: str = ""
    state: str = ""


class AccountPage(msgspec.Struct, frozen=True):
    """count: of all that are wanted. number: which page this is, from 1 to pages."""

    accounts: tuple[Account, ...]
    count: int
    number: int
    pages: int


class Actor(msgspec.Struct, frozen=True):
    """Who asks, on this request. Origin follows the credential: cookie `web`, API key `api`, our own work `job`.

    scopes: empty means all the account may do. session_id: SHA-256 of the cookie, or empty. key_id: the API key's id,
    or empty. share_id: whoever holds a share link of the account's; the link may read that snapshot and nothing else.
    models: those a key may use, empty for all the account may. requests_per_minute: a key's own limit, 0 for none.
    proved_at: when whoever holds the session last signed in or gave the password again.
    """

    account: Account
    origin: Origin
    session_id: str = ""
    key_id: str = ""
    scopes: tuple[str, ...] = ()
    share_id: str = ""
    models: tuple[str, ...] = ()
    requests_per_minute: int = 0
    proved_at: int = 0

    def may_use(self, model: str) -> bool:
        """Whether this credential is meant for the model; whether there is one of that name is another question."""
        return not self.models or model in self.models

    @property
    def account_id(self) -> str:
        return self.account.id

    @property
    def is_admin(self) -> bool:
        return self.account.role == "admin" and (not self.scopes or "admin" in self.scopes)


class Session(msgspec.Struct, frozen=True):
    """A signed-in browser. `id` is the SHA-256 of the cookie, in hex; the cookie itself is never stored.

    proved_at: when its holder last showed who they are; never before created_at."""

    id: str
    account_id: str
    created_at: int
    seen_at: int
    expires_at: int
    user_agent: str = ""
    proved_at: int = 0


class ApiKey(msgspec.Struct, frozen=True):
    """scopes, models: empty for all. requests_per_minute 0: only the server's own limits."""

    id: str
    account_id: str
    name: str
    last_four: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    used_at: int | None = None
    models: tuple[str, ...] = ()
    requests_per_minute: int = 0

    def is_expired(self, now: int) -> bool:
        return self.expires_at is not None and now >= self.expires_at


PERMISSIONS = {
    "chat.use": "Start chats and send messages",
    "chat.share": "Share chats by a link that anybody may open",
    READ_SHARE: "Read what is shared by a link",
    "models.use": "Use the models served to one's groups",
    "keys.manage": "Make and revoke one's own API keys",
    "admin.console": "See and change the server's settings and accounts",
}


def default_permission(actor: Actor, permission: str) -> bool:
    """What an actor may do when no plugin vetoes: members everything but `admin.*`, keys only within their scopes."""
    if permission.startswith("admin.") and not actor.is_admin:
        return False
    granted = {"admin", permission, permission.split(".")[0]}
    return not actor.scopes or not granted.isdisjoint(actor.scopes)
