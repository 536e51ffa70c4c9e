"""A child process that imports a file and says a line after each commit, to be killed in the middle."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from chatserver.chat.import_files import ImportFile
from chatserver.chat.imports import survey, take_file
from chatserver.domain.access import Actor
from chatserver.store import accounts
from chatserver.store.sqlite import SqliteDatabase


class Telling:
    """A database that tells of its commits."""

    engine = "sqlite"

    def __init__(self, db: SqliteDatabase) -> None:
        self._db = db

    async def read(self, function: Any) -> Any:
        return await self._db.read(function)

    async def write(self, function: Any) -> Any:
        result = await self._db.write(function)
        print("committed", flush=True)
        return result


async def main(path: Path, file: Path) -> None:
    db = SqliteDatabase.open(path, alone=False)
    (account,) = await db.read(accounts.list_accounts)
    source = ImportFile(file, [])
    survey(source)
    await take_file(Telling(db), source, {account.email: Actor(account, "job")})  # type: ignore[arg-type]
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
