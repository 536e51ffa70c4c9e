"""The password as a way to sign in: kept as argon2id, and a wrong one never told apart from no account."""

from __future__ import annotations

import unicodedata

from chatserver import Context, Refusal, SignInAttempt
from chatserver import gettext as _
from chatserver_password.hashing import Busy, Hasher
from chatserver_password.rules import problem_with

MAX_LENGTH = 1024


class PasswordBackend:
    """`email` and `password` of the form. Unknown address, missing and wrong password: the same answer, as slow."""

    name = "password"

    def __init__(self) -> None:
        self._open: list[tuple[Context, Hasher]] = []

    def open(self, ctx: Context) -> None:
        """Serve this house. One opened before it comes back when this one is closed: tests run a house in a house."""
        self._open.append((ctx, Hasher()))

    def close(self) -> None:
        if self._open:
            self._open.pop()[1].close()

    async def sign_in(self, attempt: SignInAttempt) -> str | Refusal | None:
        ctx, hasher = self._opened()
        if "password" not in attempt.fields:
            return None
        password = _normal(attempt.fields["password"])
        account = await ctx.accounts.by_email(attempt.fields.get("email", ""))
        held = await self._hash_of(account.id) if account is not None else None
        try:
            if account is None or held is None or len(password) > MAX_LENGTH:
                await hasher.waste_time(password[:MAX_LENGTH])
                return _wrong()
            if not await hasher.verify(held, password):
                return _wrong()
            if hasher.is_outdated(held):
                await self._keep(account.id, await hasher.hash(password))
        except Busy:
            return _busy()
        return str(account.id)

    async def enroll(self, account_id: str, secret: str) -> Refusal | None:
        hasher = self._opened()[1]
        password = _normal(secret)
        problem = problem_with(password)
        if problem is not None:
            return problem
        try:
            await self._keep(account_id, await hasher.hash(password))
        except Busy:
            return _busy()
        return None

    async def forget(self, account_id: str) -> None:
        ctx = self._opened()[0]
        await ctx.db.write(lambda tx: tx.run("DELETE FROM password_credentials WHERE account_id = :id", id=account_id))

    async def _hash_of(self, account_id: str) -> str | None:
        ctx = self._opened()[0]
        return await ctx.db.read(
            lambda tx: tx.one(str, "SELECT hash FROM password_credentials WHERE account_id = :id", id=account_id)
        )

    async def _keep(self, account_id: str, hashed: str) -> None:
        ctx = self._opened()[0]
        await ctx.db.write(
            lambda tx: tx.run(
                "INSERT INTO password_credentials (account_id, hash, changed_at) VALUES (:id, :hash, :now)"
                " ON CONFLICT (account_id) DO UPDATE SET hash = excluded.hash, changed_at = excluded.changed_at",
                id=account_id,
                hash=hashed,
                now=ctx.clock.now_us(),
            )
        )

    def _opened(self) -> tuple[Context, Hasher]:
        assert self._open, "startup comes before the first sign-in"
        return self._open[-1]


def _wrong() -> Refusal:
    return Refusal(
        code="sign_in_failed",
        message=_("E-mail or password is not right."),
        next_step=_("Check both and try again."),
        status=401,
    )


def _busy() -> Refusal:
    return Refusal(
        code="password_queue",
        message=_("Too many people are signing in at this moment."),
        next_step=_("Try again in a few seconds."),
        status=429,
        retry_after_s=5,
    )


def _normal(password: str) -> str:
    """The same password from any keyboard: composed and decomposed letters are one (NIST SP 800-63B 5.1.1.2)."""
    return unicodedata.normalize("NFKC", password)
