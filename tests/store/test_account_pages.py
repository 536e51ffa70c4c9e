"""Accounts a page at a time: of ten thousand no more are read than are shown, on either engine."""

from __future__ import annotations

from typing import Any

from chatserver.clock import new_id
from chatserver.domain.access import Account, AccountFilter
from chatserver.store import account_pages, accounts
from chatserver.store.database import Database, Tx

MANY = 10_000


class Counted:
    """A transaction that counts its statements and the rows they bring."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.engine = tx.engine
        self.statements = 0
        self.rows = 0

    def all(self, row_type: Any, sql: str, **parameters: Any) -> list[Any]:
        found = self._tx.all(row_type, sql, **parameters)
        self.statements, self.rows = self.statements + 1, self.rows + len(found)
        return found

    def one(self, row_type: Any, sql: str, **parameters: Any) -> Any:
        self.statements, self.rows = self.statements + 1, self.rows + 1
        return self._tx.one(row_type, sql, **parameters)


async def test_ten_thousand_accounts_are_paged_and_found_in_the_database(db: Database) -> None:
    def fill(tx: Tx) -> None:
        accounts.create_account(
            tx, Account("0" * 26, "root@example.org", "Élodie_100%", "admin", "active", ("default",), 1)
        )
        tx.run(  # the numbers 1 to 10,000, in the SQL that both engines share
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :most)"
            " INSERT INTO accounts (id, email, name, role, state, groups, settings, created_at)"
            " SELECT 'a' || CAST(i + 100000 AS TEXT), 'person' || CAST(i AS TEXT) || '@example.org',"
            " 'Person ' || CAST(i AS TEXT), 'member', CASE WHEN i % 100 = 0 THEN 'suspended' ELSE 'active' END,"
            " '[\"default\"]', '{}', i FROM n",
            most=MANY,
        )

    await db.write(fill)

    async def find(number: int = 1, **wanted: str) -> tuple[list[str], int, int, int]:
        def read(tx: Tx) -> tuple[list[str], int, int, int]:
            counted: Any = Counted(tx)
            page = account_pages.find_accounts(counted, AccountFilter(**wanted), number, 50)
            assert counted.statements == 2 and counted.rows <= 51, "what is not shown is not read"
            return [one.email for one in page.accounts], page.count, page.number, page.pages

        return await db.read(read)

    emails, count, number, pages = await find()
    assert (len(emails), count, number, pages, emails[0]) == (50, MANY + 1, 1, 201, "root@example.org")
    emails, _, number, _ = await find(201)
    assert (emails, number) == (["person10000@example.org"], 201)
    assert (await find(999))[2] == 201 and (await find(-3))[2] == 1
    assert await find(text="PERSON777@") == (["person777@example.org"], 1, 1, 1)
    assert (await find(text="person 99"))[1] == 111
    assert (await find(state="suspended"))[1] == 100 and (await find(text="person5", state="suspended"))[1] == 11
    assert (await find(role="admin"))[0] == ["root@example.org"]
    for text in ("élodie", "Élodie", "_100%", "ROOT@"):
        assert (await find(text=text))[0] == ["root@example.org"], text
    assert (await find(text="%"))[1] == 1 and (await find(text="nobody"))[1:] == (0, 1, 1)


async def test_addresses_are_read_by_id(db: Database) -> None:
    known = [Account(new_id(), f"{name}@example.org", "", "member", "active", ("default",), 1) for name in "ab"]
    for one in known:
        await db.write(lambda tx, one=one: accounts.create_account(tx, one))  # type: ignore[misc]
    wanted = [known[0].id, known[1].id, "nobody", ""]
    assert await db.read(lambda tx: account_pages.emails_of(tx, wanted)) == {one.id: one.email for one in known}
    assert await db.read(lambda tx: account_pages.emails_of(tx, [])) == {}
