"""Accounts, their sessions, keys and settings, and the fact that makes exactly one first admin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from chatserver.domain.access import Account, AccountRole, AccountState, ApiKey, Session
from chatserver.domain.events import AccountCreated
from chatserver.errors import Conflict
from chatserver.store import outbox
from chatserver.store.database import Tx

SETUP_FACT = "setup_token"
KEY_FACT = "secret_key_mark"

_encode = msgspec.json.Encoder().encode
_decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_settings = msgspec.json.Decoder(dict[str, Any]).decode

ACCOUNT_COLUMNS = (
    "a.id AS id, a.email AS email, a.name AS name, a.role AS role, a.state AS state, a.groups AS groups,"
    " a.created_at AS created_at"
)
_SESSION = (
    "s.id AS session_id, s.account_id AS account_id, s.created_at AS session_created_at, s.seen_at AS seen_at,"
    " s.expires_at AS expires_at, s.user_agent AS user_agent, s.proved_at AS proved_at"
)
_KEY = (
    "id, account_id, name, last_four, scopes, created_at, expires_at, revoked_at, used_at, models, requests_per_minute"
)


class AccountRow(msgspec.Struct, frozen=True):
    id: str
    email: str
    name: str
    role: AccountRole
    state: AccountState
    groups: str
    created_at: int

    def account(self) -> Account:
        return Account(
            id=self.id,
            email=self.email,
            name=self.name,
            role=self.role,
            state=self.state,
            groups=_decode_names(self.groups),
            created_at=self.created_at,
        )


class SessionRow(msgspec.Struct, frozen=True):
    """A session beside the account it belongs to."""

    id: str
    email: str
    name: str
    role: AccountRole
    state: AccountState
    groups: str
    created_at: int
    session_id: str
    account_id: str
    session_created_at: int
    seen_at: int
    expires_at: int
    user_agent: str
    proved_at: int

    def account(self) -> Account:
        return Account(
            self.id, self.email, self.name, self.role, self.state, _decode_names(self.groups), self.created_at
        )

    def session(self) -> Session:
        return Session(
            id=self.session_id,
            account_id=self.account_id,
            created_at=self.session_created_at,
            seen_at=self.seen_at,
            expires_at=self.expires_at,
            user_agent=self.user_agent,
            # A node of the version before writes no proof: signing in was one.
            proved_at=max(self.proved_at, self.session_created_at),
        )


class KeyRow(msgspec.Struct, frozen=True):
    id: str
    account_id: str
    name: str
    last_four: str
    scopes: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    used_at: int | None
    models: str
    requests_per_minute: int

    def key(self) -> ApiKey:
        return ApiKey(
            id=self.id,
            account_id=self.account_id,
            name=self.name,
            last_four=self.last_four,
            scopes=_decode_names(self.scopes),
            created_at=self.created_at,
            expires_at=self.expires_at,
            revoked_at=self.revoked_at,
            used_at=self.used_at,
            models=_decode_names(self.models),
            requests_per_minute=self.requests_per_minute,
        )


# --- accounts -------------------------------------------------------------------------------------------------------


def create_account(tx: Tx, account: Account) -> None:
    """Store a new account and its event. Raises Conflict `email_taken` when the address is in use."""
    tx.lock(f"email {account.email}")
    if tx.one(int, "SELECT 1 FROM accounts WHERE email = :email", email=account.email) is not None:
        raise Conflict(
            "There is an account for %(email)s already.", values={"email": account.email}, code="email_taken"
        )
    tx.run(
        "INSERT INTO accounts (id, email, name, role, state, groups, settings, created_at)"
        " VALUES (:id, :email, :name, :role, :state, :groups, '{}', :created_at)",
        id=account.id,
        email=account.email,
        name=account.name,
        role=account.role,
        state=account.state,
        groups=_encode(account.groups).decode(),
        created_at=account.created_at,
    )
    outbox.append(tx, AccountCreated(account_id=account.id))


def create_first_admin(tx: Tx, account: Account, token_hash: str) -> bool:
    """Use the one-time token up and store the first admin, both or neither. False: the token is spent or unknown.

    The guarded UPDATE lets one of any number of concurrent tries win, on either engine.
    """
    spent = tx.run(
        "UPDATE facts SET value = '' WHERE name = :name AND value = :hash"
        " AND NOT EXISTS (SELECT 1 FROM accounts WHERE role = 'admin')",
        name=SETUP_FACT,
        hash=token_hash,
    )
    if spent != 1:
        return False
    create_account(tx, account)
    return True


def put_setup_token(tx: Tx, token_hash: str) -> bool:
    """Make this the one token that can make the first admin. False, and nothing changed: there is an admin already."""
    tx.lock(SETUP_FACT)
    if has_admin(tx):
        return False
    changed = tx.run("UPDATE facts SET value = :hash WHERE name = :name", name=SETUP_FACT, hash=token_hash)
    if changed == 0:
        tx.run("INSERT INTO facts (name, value) VALUES (:name, :hash)", name=SETUP_FACT, hash=token_hash)
    return True


def is_setup_token(tx: Tx, token_hash: str) -> bool:
    """Whether this token can still make the first admin."""
    held = tx.one(str, "SELECT value FROM facts WHERE name = :name", name=SETUP_FACT)
    return bool(held) and held == token_hash and not has_admin(tx)


def keep_key_mark(tx: Tx, mark: str) -> bool:
    """Note by its mark which secret key is used on this database. False: it was another one until now."""
    tx.lock(KEY_FACT)
    held = tx.one(str, "SELECT value FROM facts WHERE name = :name", name=KEY_FACT)
    tx.run(
        "INSERT INTO facts (name, value) VALUES (:name, :mark) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        name=KEY_FACT,
        mark=mark,
    )
    return held is None or held == mark


def has_admin(tx: Tx) -> bool:
    return tx.one(int, "SELECT 1 FROM accounts WHERE role = 'admin' LIMIT 1") is not None


def account_by_id(tx: Tx, account_id: str) -> Account | None:
    row = tx.one(AccountRow, f"SELECT {ACCOUNT_COLUMNS} FROM accounts a WHERE a.id = :id", id=account_id)
    return row.account() if row else None


def account_by_email(tx: Tx, email: str) -> Account | None:
    row = tx.one(AccountRow, f"SELECT {ACCOUNT_COLUMNS} FROM accounts a WHERE a.email = :email", email=email)
    return row.account() if row else None


def list_accounts(tx: Tx) -> list[Account]:
    return [row.account() for row in tx.all(AccountRow, f"SELECT {ACCOUNT_COLUMNS} FROM accounts a ORDER BY a.id")]


def update_account(tx: Tx, account: Account) -> bool:
    """Replace name, role, state and groups. A change of role or state ends the account's sessions (a new sign-in
    then carries the new rights). False: no such account."""
    held = account_by_id(tx, account.id)
    if held is None:
        return False
    tx.run(
        "UPDATE accounts SET name = :name, role = :role, state = :state, groups = :groups WHERE id = :id",
        id=account.id,
        name=account.name,
        role=account.role,
        state=account.state,
        groups=_encode(account.groups).decode(),
    )
    if (held.role, held.state) != (account.role, account.state):
        end_sessions(tx, account.id)
    return True


def count_admins(tx: Tx) -> int:
    """Those who can sign in."""
    return tx.one(int, "SELECT COUNT(*) FROM accounts WHERE role = 'admin' AND state = 'active'") or 0


# --- sessions -------------------------------------------------------------------------------------------------------


def create_session(tx: Tx, session: Session, replaces: str = "") -> None:
    """Store a session; the one it replaces (rotation at sign-in) and the account's expired ones go with it."""
    tx.run("DELETE FROM sessions WHERE id = :id", id=replaces)
    tx.run(
        "DELETE FROM sessions WHERE account_id = :account_id AND expires_at < :now",
        account_id=session.account_id,
        now=session.created_at,
    )
    tx.run(
        "INSERT INTO sessions (id, account_id, created_at, seen_at, expires_at, user_agent, proved_at)"
        " VALUES (:id, :account_id, :created_at, :seen_at, :expires_at, :user_agent, :proved_at)",
        id=session.id,
        account_id=session.account_id,
        created_at=session.created_at,
        seen_at=session.seen_at,
        expires_at=session.expires_at,
        user_agent=session.user_agent,
        proved_at=session.proved_at,
    )


def prove_session(tx: Tx, account_id: str, session_id: str, now_us: int) -> int:
    return tx.run(
        "UPDATE sessions SET proved_at = :now WHERE id = :id AND account_id = :account_id",
        id=session_id,
        account_id=account_id,
        now=now_us,
    )


def get_session(tx: Tx, session_id: str) -> tuple[Session, Account] | None:
    row = tx.one(
        SessionRow,
        f"SELECT {ACCOUNT_COLUMNS}, {_SESSION} FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = :id",
        id=session_id,
    )
    return (row.session(), row.account()) if row else None


def touch_session(tx: Tx, session_id: str, now_us: int) -> None:
    tx.run("UPDATE sessions SET seen_at = :now WHERE id = :id", id=session_id, now=now_us)


def end_session(tx: Tx, account_id: str, session_id: str) -> bool:
    return (
        tx.run("DELETE FROM sessions WHERE id = :id AND account_id = :account_id", id=session_id, account_id=account_id)
        == 1
    )


def end_sessions(tx: Tx, account_id: str, keep: str = "") -> int:
    """End all sessions of an account but one; returns how many ended."""
    return tx.run(
        "DELETE FROM sessions WHERE account_id = :account_id AND id <> :keep", account_id=account_id, keep=keep
    )


def purge_sessions(tx: Tx, *, now: int, idle_before: int) -> None:
    """Sessions that open nothing any more, by age or by idleness."""
    tx.run("DELETE FROM sessions WHERE expires_at < :now OR seen_at < :idle_before", now=now, idle_before=idle_before)


def list_sessions(tx: Tx, account_id: str) -> list[Session]:
    """Newest sign-in first."""
    return tx.all(
        Session,
        "SELECT id, account_id, created_at, seen_at, expires_at, user_agent, proved_at FROM sessions"
        " WHERE account_id = :account_id ORDER BY created_at DESC, id",
        account_id=account_id,
    )


# --- keys -----------------------------------------------------------------------------------------------------------


def create_key(tx: Tx, key: ApiKey, key_hash: str) -> None:
    tx.run(
        "INSERT INTO api_keys (id, account_id, name, hash, last_four, scopes, created_at, expires_at, models,"
        " requests_per_minute) VALUES (:id, :account_id, :name, :hash, :last_four, :scopes, :created_at, :expires_at,"
        " :models, :requests_per_minute)",
        id=key.id,
        account_id=key.account_id,
        name=key.name,
        hash=key_hash,
        last_four=key.last_four,
        scopes=_encode(key.scopes).decode(),
        created_at=key.created_at,
        expires_at=key.expires_at,
        models=_encode(key.models).decode(),
        requests_per_minute=key.requests_per_minute,
    )


def find_key_by_hash(tx: Tx, key_hash: str) -> tuple[ApiKey, Account] | None:
    row = tx.one(KeyRow, f"SELECT {_KEY} FROM api_keys WHERE hash = :hash", hash=key_hash)
    if row is None:
        return None
    account = account_by_id(tx, row.account_id)
    return (row.key(), account) if account else None


def touch_key(tx: Tx, key_id: str, now_us: int) -> None:
    tx.run("UPDATE api_keys SET used_at = :now WHERE id = :id", id=key_id, now=now_us)


def list_keys(tx: Tx, account_id: str) -> list[ApiKey]:
    """The keys that are not revoked, newest first."""
    rows = tx.all(
        KeyRow,
        f"SELECT {_KEY} FROM api_keys WHERE account_id = :account_id AND revoked_at IS NULL"
        " ORDER BY created_at DESC, id",
        account_id=account_id,
    )
    return [row.key() for row in rows]


def revoke_key(tx: Tx, account_id: str, key_id: str, now_us: int) -> bool:
    return (
        tx.run(
            "UPDATE api_keys SET revoked_at = :now WHERE id = :id AND account_id = :account_id AND revoked_at IS NULL",
            id=key_id,
            account_id=account_id,
            now=now_us,
        )
        == 1
    )


# --- settings of an account -----------------------------------------------------------------------------------------


def get_settings(tx: Tx, account_id: str) -> dict[str, Any]:
    """What the account chose, by name: theme, look, language, model…"""
    held = tx.one(str, "SELECT settings FROM accounts WHERE id = :id", id=account_id)
    return _decode_settings(held) if held else {}


def change_settings(
    tx: Tx, account_id: str, change: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> dict[str, Any] | None:
    """Read, change and write in one transaction; returns what is stored now, None when there is no such account."""
    tx.lock(f"settings {account_id}")
    held = tx.one(str, "SELECT settings FROM accounts WHERE id = :id", id=account_id)
    if held is None:
        return None
    changed = change(_decode_settings(held))
    tx.run("UPDATE accounts SET settings = :settings WHERE id = :id", id=account_id, settings=_encode(changed).decode())
    return changed
