"""Accounts as use cases: make one, sign it in and out, hand out keys."""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import secrets
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from chatserver.chat.audit import By, entry_by, tell, write_noted
from chatserver.chat.credentials import IDLE_US, SECRET, Credentials, sha256
from chatserver.chat.refusals import refused
from chatserver.clock import new_id, now_us
from chatserver.domain.access import (
    PERMISSIONS,
    Account,
    AccountFilter,
    AccountPage,
    AccountRole,
    AccountState,
    Actor,
    ApiKey,
    Session,
)
from chatserver.domain.extend import AuthBackend, Refusal, SignInAttempt
from chatserver.errors import BadInput, ChatserverError, Conflict, NotFound, StorageFull, Unavailable, _
from chatserver.store import account_pages
from chatserver.store import accounts as table
from chatserver.store import turns as turn_rows
from chatserver.store.database import Database, Tx

ABSOLUTE_US = 90 * 86_400 * 1_000_000
SETTINGS_MAX_BYTES = 16_384
KEY_MODELS_MAX = 100
BACKEND_S = 30.0
"""How long a way to sign in may take; a queue of passwords to compare is part of that."""
R = TypeVar("R")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,189}")
_ID_LETTERS = "0123456789abcdefghjkmnpqrstvwxyz"


class Backends(Protocol):
    """What is needed of the plugin manager here."""

    def registered(self, hook: str) -> Sequence[tuple[str, Any]]: ...
    def report_fault(self, name: str, where: str, error: BaseException | str) -> None: ...


class NewKey(msgspec.Struct, frozen=True):
    """`secret` is shown once and kept nowhere."""

    key: ApiKey
    secret: str


class Accounts(Credentials):
    """Every way in ends here; who is behind a credential stands in chat/credentials.py.

    secret_key: at least 32 bytes; the CSRF tokens and the marks in cookies are derived from it by label.
    """

    def __init__(self, db: Database, plugins: Backends, secret_key: bytes) -> None:
        if len(secret_key) < 32:
            raise ValueError("secret_key must have at least 32 bytes")
        super().__init__(db)
        self._plugins = plugins
        self._csrf_key = hmac.digest(secret_key, b"chatserver csrf\x01", "sha256")
        self._browser_key = hmac.digest(secret_key, b"chatserver browser\x01", "sha256")
        self._key_mark = hmac.digest(secret_key, b"chatserver mark\x01", "sha256").hex()
        self._setup = asyncio.Lock()

    def csrf_token(self, actor: Actor) -> str:
        """What a form of this session must send back as `csrf` or `X-CSRF`; empty for who has no session."""
        if not actor.session_id:
            return ""
        return base64.urlsafe_b64encode(hmac.digest(self._csrf_key, actor.session_id.encode(), "sha256"))[:43].decode()

    # --- signing in and out -----------------------------------------------------------------------------------------

    async def sign_in(self, attempt: SignInAttempt) -> Account | Refusal:
        """Ask each way to sign in, in order; the first that answers decides. Accounts not active are refused alike."""
        for name, backend in self._backends():
            answer = await self._ask(name, "sign_in", backend.sign_in(attempt))
            if answer is None:
                continue
            if isinstance(answer, Refusal):
                return answer
            account = await self.by_id(answer)
            if account is not None and account.state == "active":
                return account
            return WRONG
        return WRONG

    async def open_session(
        self, account: Account, user_agent: str = "", replaces: str = "", *, address: str | None = None
    ) -> str:
        """A new session for the account; returns the cookie's value. replaces: the cookie the browser came with.
        address: where somebody signs in from, noted with it; None: nothing is noted."""
        cookie = self._mint_cookie(account.id)
        now = now_us()
        session = Session(sha256(cookie), account.id, now, now, now + ABSOLUTE_US, _one_line(user_agent, 200), now)
        entry = None if address is None else entry_by(account, "signed_in", address=address)

        def open_one(tx: Tx) -> bool:
            table.create_session(tx, session, sha256(replaces))
            return True

        try:
            await write_noted(self._db, open_one, entry, essential=True)
        except StorageFull:  # who signs in to make room is not kept out by the room a note takes
            await self._db.write(open_one, essential=True)
            if entry is not None:
                tell(entry)
        self.forget_credentials()
        return cookie

    async def prove(self, actor: Actor, *, address: str = "") -> None:
        """Whoever asks has just shown again who they are: for a while, acts of consequence need no more."""
        now = now_us()
        await write_noted(
            self._db,
            lambda tx: table.prove_session(tx, actor.account_id, actor.session_id, now),
            entry_by(actor, "proved_again", address=address),
        )
        self.forget_credentials()

    async def proved_at(self, actor: Actor) -> int:
        """When the actor's session was last proved, as the database knows it; 0 when there is no session."""
        held = await self._db.read(lambda tx: table.get_session(tx, actor.session_id))
        return held[0].proved_at if held is not None else 0

    async def end_session(self, actor: Actor, session_id: str = "") -> None:
        """End one of the actor's own sessions; without an id, the one they are asking with, which is noted."""
        ended = await write_noted(
            self._db,
            lambda tx: table.end_session(tx, actor.account_id, session_id or actor.session_id),
            None if session_id else entry_by(actor, "signed_out"),
            essential=True,
        )
        self.forget_credentials()
        if not ended and session_id:
            raise NotFound

    async def end_other_sessions(self, actor: Actor) -> int:
        ended = await self._db.write(
            lambda tx: table.end_sessions(tx, actor.account_id, actor.session_id), essential=True
        )
        self.forget_credentials()
        return ended

    async def sessions(self, actor: Actor) -> list[Session]:
        """The actor's own sessions that are still open, newest first."""
        now = now_us()
        held = await self._db.read(lambda tx: table.list_sessions(tx, actor.account_id))
        return [session for session in held if session.expires_at > now and now - session.seen_at < IDLE_US]

    def _mint_cookie(self, account_id: str) -> str:
        """43 characters: 16 random bytes, and 16 that show later that this browser once signed in to the account."""
        random = secrets.token_bytes(16)
        return base64.urlsafe_b64encode(random + self._browser_mark(random, account_id)).rstrip(b"=").decode()

    def _browser_mark(self, random: bytes, account_id: str) -> bytes:
        return hmac.digest(self._browser_key, random + account_id.encode(), "sha256")[:16]

    def mark_browser(self, account_id: str) -> str:
        """A cookie that opens nothing, left at sign-out: its owner is known to `has_signed_in_before`."""
        return self._mint_cookie(account_id)

    async def has_signed_in_before(self, email: str, cookie: str) -> bool:
        """Whether the browser with this cookie, ended or not, has been signed in to the account of this address."""
        if not SECRET.fullmatch(cookie):
            return False
        account = await self.by_email(email)
        if account is None:
            return False
        raw = base64.urlsafe_b64decode(cookie + "=")
        return hmac.compare_digest(raw[16:], self._browser_mark(raw[:16], account.id))

    # --- making accounts --------------------------------------------------------------------------------------------

    async def create(
        self,
        email: str,
        *,
        name: str = "",
        role: AccountRole = "member",
        groups: Sequence[str] = ("default",),
        secret: str | None = None,
        by: By | None = None,
    ) -> Account:
        """A new account; with a secret it can sign in. by: who makes it, for the audit; None: nothing is noted.

        Raises BadInput, Conflict `email_taken`, or Refused by a way to sign in that does not take the secret.
        """
        account = _new_account(email, name, role, groups)
        if await self.by_email(account.email) is None and secret is not None:
            await self._enroll(account.id, secret)

        def create(tx: Tx) -> bool:
            table.create_account(tx, account)
            return True

        entry = None if by is None else entry_by(by, "account_created", account.id, role=account.role)
        await write_noted(self._db, create, entry)
        return account

    async def keep_key_mark(self) -> bool:
        """Note which secret key is used on this database. False: it was another one until now, so forms and sessions
        of nodes that still have that one are not understood here."""
        return await self._db.write(lambda tx: table.keep_key_mark(tx, self._key_mark))

    async def mint_setup_token(self) -> str | None:
        """The one-time token of the link that makes the first admin; a former one stops working. None: there is one."""
        token = secrets.token_urlsafe(32)
        kept = await self._db.write(lambda tx: table.put_setup_token(tx, sha256(token)))
        return token if kept else None

    async def is_setup_token(self, token: str) -> bool:
        return bool(SECRET.fullmatch(token)) and await self._db.read(lambda tx: table.is_setup_token(tx, sha256(token)))

    async def create_first_admin(self, token: str, email: str, secret: str, *, name: str = "") -> Account:
        """The first admin, made by whoever holds the token, once. Raises NotFound when the token is spent or unknown.

        The secret is kept before the account is stored, so that a refused password does not use the token up; the
        lock only spares the losers on this node the hashing, the guarded UPDATE is what lets one win.
        """
        account = _new_account(email, name, "admin", ("default",))
        async with self._setup:
            if not await self.is_setup_token(token):
                raise NotFound("This link has been used, or a newer one was printed.")
            await self._enroll(account.id, secret)
            won = await write_noted(
                self._db,
                lambda tx: table.create_first_admin(tx, account, sha256(token)),
                entry_by(account, "first_admin_created"),
            )
        if not won:
            raise NotFound("This link has been used, or a newer one was printed.")
        return account

    async def set_secret(
        self, account_id: str, secret: str, keep: Actor | None = None, *, by: By | None = None
    ) -> None:
        """Change what the account signs in with, and end its other sessions. by: for the audit; None: not noted."""
        await self._enroll(account_id, secret)

        def end_others(tx: Tx) -> bool:
            table.end_sessions(tx, account_id, keep.session_id if keep else "")
            return True

        entry = None if by is None else entry_by(by, "password_changed", account_id)
        await write_noted(self._db, end_others, entry)
        self.forget_credentials()

    async def _enroll(self, account_id: str, secret: str) -> None:
        refusal = Refusal("no_sign_in", _("No way to sign in is installed. Install chatserver-password."), status=503)
        for name, backend in self._backends():
            answer = await self._ask(name, "enroll", backend.enroll(account_id, secret))
            if answer is None:
                return
            refusal = answer
        raise refused(refusal)

    async def forget_secrets(self, account_id: str) -> None:
        """No way to sign in keeps anything of an account that is being deleted."""
        for name, backend in self._backends():
            forget = getattr(backend, "forget", None)  # the plugins of the version before have none
            if forget is not None:
                await self._ask(name, "forget", forget(account_id))

    async def _ask(self, name: str, what: str, asked: Awaitable[R]) -> R:
        """A plugin's answer, within its time. What goes wrong in it is reported, and is no traceback for a person."""
        try:
            async with asyncio.timeout(BACKEND_S):
                return await asked
        except ChatserverError:
            raise
        except Exception as error:  # a plugin's boundary
            self._plugins.report_fault(name, what, error)
            raise Unavailable(
                "Signing in does not work at this moment. Try again, or ask whoever runs this."
            ) from error

    def _backends(self) -> list[tuple[str, AuthBackend]]:
        return list(self._plugins.registered("register_auth_backends"))

    # --- looking after them -----------------------------------------------------------------------------------------

    async def by_email(self, email: str) -> Account | None:
        return await self._db.read(lambda tx: table.account_by_email(tx, email.strip().lower()))

    async def by_id(self, account_id: str) -> Account | None:
        return await self._db.read(lambda tx: table.account_by_id(tx, account_id))

    async def list(self) -> Sequence[Account]:
        """All of them: for an export, never for a page."""
        return await self._db.read(table.list_accounts)

    async def find(self, wanted: AccountFilter, *, page: int, size: int) -> AccountPage:
        """One page of those wanted, the oldest first; a page beyond the last is the last."""
        return await self._db.read(lambda tx: account_pages.find_accounts(tx, wanted, page, size))

    async def emails(self, account_ids: Collection[str]) -> dict[str, str]:
        """Of those that are accounts, by id."""
        return await self._db.read(lambda tx: account_pages.emails_of(tx, account_ids))

    async def has_admin(self) -> bool:
        return await self._db.read(table.has_admin)

    async def update(
        self,
        account_id: str,
        *,
        name: str | None = None,
        role: AccountRole | None = None,
        state: AccountState | None = None,
        groups: Sequence[str] | None = None,
        by: By | None = None,
    ) -> Account:
        """Change an account; a new role or state ends its sessions, and whoever may not sign in any more has its
        running turns stopped, on whichever node. For the operator, never for the account itself. by: who does it, for
        the audit; None: nothing is noted.

        Raises NotFound, Conflict `last_admin` for what would leave nobody to run the house.
        """

        def change(tx: Any) -> Account | None:
            held = table.account_by_id(tx, account_id)
            if held is None:
                return None
            changed = msgspec.structs.replace(
                held,
                name=held.name if name is None else _one_line(name, 100),
                role=held.role if role is None else role,
                state=held.state if state is None else state,
                groups=held.groups if groups is None else _clean_groups(groups),
            )
            if _rules(held) and not _rules(changed):
                tx.lock("admins")
                if table.count_admins(tx) < 2:
                    raise Conflict("This is the last admin. Make another one first.", code="last_admin")
            table.update_account(tx, changed)
            if changed.state != "active":
                turn_rows.request_stops_of(tx, account_id)
            return changed

        told = {"name": name, "role": role, "state": state, "groups": ", ".join(groups) if groups is not None else None}
        details = {key: value for key, value in told.items() if value is not None}
        entry = None if by is None else entry_by(by, "account_changed", account_id, **details)
        changed = await write_noted(self._db, change, entry)
        self.forget_credentials()
        if changed is None:
            raise NotFound
        return changed

    async def rename(self, actor: Actor, name: str) -> Account:
        """What an account may change of itself."""
        return await self.update(actor.account_id, name=name)

    # --- keys -------------------------------------------------------------------------------------------------------

    async def create_key(
        self,
        account: Account,
        name: str = "",
        scopes: Sequence[str] = (),
        expires_at: int | None = None,
        *,
        models: Sequence[str] = (),
        requests_per_minute: int = 0,
        by: By | None = None,
    ) -> NewKey:
        """A key of the form cs_<6>_<43>; only its SHA-256 is stored. by: who makes it, for the audit; None: not noted.

        Raises BadInput for a scope nobody knows, a moment that is over, or a limit below nothing.
        """
        check_key(scopes, models, expires_at, requests_per_minute)
        key_id = "".join(secrets.choice(_ID_LETTERS) for _ in range(6))
        secret = f"cs_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=f"{key_id}{new_id()[-10:]}",
            account_id=account.id,
            name=_one_line(name, 100),
            last_four=secret[-4:],
            scopes=tuple(scopes),
            created_at=now_us(),
            expires_at=expires_at,
            models=tuple(models),
            requests_per_minute=requests_per_minute,
        )

        def keep(tx: Tx) -> bool:
            table.create_key(tx, key, sha256(secret))
            return True

        entry = None if by is None else entry_by(by, "key_created", key.id, name=key.name)
        await write_noted(self._db, keep, entry)
        return NewKey(key, secret)

    async def keys(self, actor: Actor) -> Sequence[ApiKey]:
        return await self._db.read(lambda tx: table.list_keys(tx, actor.account_id))

    async def revoke_key(self, actor: Actor, key_id: str) -> None:
        revoked = await write_noted(
            self._db,
            lambda tx: table.revoke_key(tx, actor.account_id, key_id, now_us()),
            entry_by(actor, "key_revoked", key_id),
            essential=True,
        )
        self.forget_credentials()
        if not revoked:
            raise NotFound

    # --- what an account chose --------------------------------------------------------------------------------------

    async def settings(self, actor: Actor) -> dict[str, Any]:
        return await self._db.read(lambda tx: table.get_settings(tx, actor.account_id))

    async def set_settings(self, actor: Actor, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Set some of the actor's settings (None removes one) and return all of them."""

        def change(held: Mapping[str, Any]) -> dict[str, Any]:
            merged = {name: value for name, value in {**held, **changes}.items() if value is not None}
            if len(msgspec.json.encode(merged)) > SETTINGS_MAX_BYTES:
                raise BadInput("These settings are too large to keep.")
            return merged

        changed = await self._db.write(lambda tx: table.change_settings(tx, actor.account_id, change))
        if changed is None:
            raise NotFound
        return changed


def check_key(scopes: Sequence[str], models: Sequence[str], expires_at: int | None, requests_per_minute: int) -> None:
    """What a key may be made with. The rights it names are looked at again whenever it is used."""
    known = {"admin", *PERMISSIONS, *(name.partition(".")[0] for name in PERMISSIONS)}
    for scope in scopes:
        if scope not in known:
            raise BadInput(
                "There is no right “%(scope)s”. Pick from: %(rights)s.",
                values={"scope": scope[:60], "rights": ", ".join(sorted(PERMISSIONS))},
                status=422,
            )
    if len(models) > KEY_MODELS_MAX or any(not name or len(name) > 200 for name in models):
        raise BadInput("Name at most %(most)s models, each by its id.", values={"most": KEY_MODELS_MAX}, status=422)
    if expires_at is not None and expires_at <= now_us():
        raise BadInput("The key would have expired already. Pick a later day.", status=422)
    if not 0 <= requests_per_minute <= 1_000_000:
        raise BadInput("The requests per minute are a number from 0, for no limit of its own, to 1000000.", status=422)


WRONG = Refusal(
    code="sign_in_failed",
    message=_("E-mail or password is not right."),
    next_step=_("Check both and try again."),
    status=401,
)
"""The one answer to a sign-in that fails, whatever the reason."""


def _new_account(email: str, name: str, role: AccountRole, groups: Sequence[str]) -> Account:
    address = email.strip().lower()
    if not _EMAIL.fullmatch(address):
        raise BadInput("This is not an e-mail address.", code="bad_email")
    return Account(
        id=new_id(),
        email=address,
        name=_one_line(name, 100) or address.partition("@")[0],
        role=role,
        state="active",
        groups=_clean_groups(groups),
        created_at=now_us(),
    )


def _rules(account: Account) -> bool:
    return account.role == "admin" and account.state == "active"


def _clean_groups(groups: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(group.strip() for group in groups if group.strip())) or ("default",)


def _one_line(text: str, length: int) -> str:
    return "".join(character if character.isprintable() else " " for character in text).strip()[:length]
