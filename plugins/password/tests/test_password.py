"""The password plugin by itself: its rules, its threads, and that it tells nobody who has an account."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from chatserver_password import hashing
from chatserver_password.backend import PasswordBackend
from chatserver_password.hashing import Busy, Hasher
from chatserver_password.rules import is_common, problem_with

from chatserver import Account, Refusal, SignInAttempt, clock

GOOD = "a quiet horse reads maps"


class FakeTable:
    """`ctx.db` with one table in a dict."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}

    async def read(self, function: Any) -> Any:
        return function(self)

    write = read

    def one(self, _type: type, _sql: str, *, id: str) -> str | None:
        return self.rows.get(id)

    def run(self, _sql: str, *, id: str, hash: str, now: int) -> int:
        self.rows[id] = hash
        return 1


class FakeAccounts:
    async def by_email(self, email: str) -> Account | None:
        if email != "ada@example.org":
            return None
        return Account("ada", email, "Ada", "member", "active", ("default",), 0)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Any:
    backend = PasswordBackend()
    backend.open(SimpleNamespace(db=FakeTable(), accounts=FakeAccounts(), clock=clock))  # type: ignore[arg-type]
    yield backend
    backend.close()


def attempt(email: str, password: str) -> SignInAttempt:
    return SignInAttempt({"email": email, "password": password}, "127.0.0.1")


async def test_the_right_password_names_the_account(backend: PasswordBackend) -> None:
    assert await backend.enroll("ada", GOOD) is None
    assert await backend.sign_in(attempt("ada@example.org", GOOD)) == "ada"


async def test_wrong_unknown_and_missing_are_answered_alike(backend: PasswordBackend) -> None:
    missing = await backend.sign_in(attempt("ada@example.org", GOOD))
    await backend.enroll("ada", GOOD)
    wrong = await backend.sign_in(attempt("ada@example.org", GOOD + "!"))
    unknown = await backend.sign_in(attempt("bob@example.org", GOOD))
    assert isinstance(wrong, Refusal)
    assert missing == wrong == unknown


async def test_long_passwords_are_compared_whole(backend: PasswordBackend) -> None:
    long = "x y" * 100
    await backend.enroll("ada", long)
    assert await backend.sign_in(attempt("ada@example.org", long)) == "ada"
    assert isinstance(await backend.sign_in(attempt("ada@example.org", long[:-1])), Refusal)


async def test_a_composed_and_a_decomposed_letter_are_one(backend: PasswordBackend) -> None:
    await backend.enroll("ada", "die ku\u0308che kocht")
    assert await backend.sign_in(attempt("ada@example.org", "die k\u00fcche kocht")) == "ada"


async def test_a_hash_of_older_parameters_is_made_anew(
    backend: PasswordBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "MEMORY_KIB", 8192)
    weak = Hasher()
    table: FakeTable = backend._open[-1][0].db  # type: ignore[assignment]
    table.rows["ada"] = await weak.hash(GOOD)
    weak.close()
    assert await backend.sign_in(attempt("ada@example.org", GOOD)) == "ada"
    assert "m=19456,t=2,p=1" in table.rows["ada"]


async def test_a_full_queue_refuses_instead_of_growing(backend: PasswordBackend) -> None:
    answers = await asyncio.gather(*(backend.sign_in(attempt("eve@example.org", "guess")) for _ in range(80)))
    refusals = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(refusals) == 80
    assert sum(refusal.status == 429 for refusal in refusals) == 80 - hashing.AT_ONCE - hashing.QUEUE_MAX


async def test_the_hasher_says_when_it_is_busy() -> None:
    hasher = Hasher()
    hasher._pending = hashing.AT_ONCE + hashing.QUEUE_MAX
    with pytest.raises(Busy):
        await hasher.hash(GOOD)
    hasher.close()


@pytest.mark.parametrize(
    "password", ["short", "1234567", "password1", "PASSWORD1", "12345678", "qwertyuiop", "iloveyou"]
)
def test_what_everybody_tries_is_refused(password: str) -> None:
    assert problem_with(password) is not None


@pytest.mark.parametrize("password", [GOOD, "x" * 63 + "y", "ÄÖÜ äöü 12", "eight ch"])
def test_anything_else_of_eight_characters_will_do(password: str) -> None:
    assert problem_with(password) is None


def test_the_list_is_as_long_as_promised() -> None:
    assert is_common("sunshine1")
    from chatserver_password.rules import _common

    assert len(_common()) == 3000
