"""Copy a whole house into another database, of whichever engine: in pages, resumable, compared at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from chatserver.domain.extend import Migration
from chatserver.errors import SetupError
from chatserver.store import copies, search, tables
from chatserver.store.copies import Progress, Source
from chatserver.store.database import Database, Tx
from chatserver.store.migrations import COPY_SET, sets_in
from chatserver.store.tables import Named, Table, Tally

Sets = list[tuple[str, list[Migration]]]
PAGE = 512
INDEX = "search_index"


class Copied(msgspec.Struct, frozen=True):
    """What was copied, and is equal on both sides. left: sets whose plugins are not here, so their tables stayed."""

    rows: int
    tables: dict[str, Tally]
    left: tuple[str, ...]


async def copy_house(
    source: Source,
    target: Database,
    sets_of: Callable[[str], Sets],
    *,
    resumes: bool = False,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Copied:
    """Everything of the source into the target, which is empty; when `resumes` it may hold an unfinished copy.

    Nobody may write to the source meanwhile. Killed anywhere, it goes on from its last page. sets_of: the migration
    sets of an engine. Raises SetupError when a side is not fit for it, or the two are not equal at the end; the target
    is served by nobody before they are.
    """
    names = tables.tables_of(sets_of(source.engine))
    left = await _check_source(source, sets_of(source.engine))
    await open_target(target, sets_of, source.engine, resumes=resumes)
    copied = [await _describe(source, target, named) for named in names]
    numbers: dict[str, int] = {}
    for table in copied:
        await _copy_rows(source, target, table)
        if table.inward:
            await _copy_links(source, target, table)
        if table.numbered:
            number = await source.read(partial(tables.last_number, table=table))
            await target.write(partial(tables.set_last_number, table=table, number=number))
            numbers[table.name] = number
        tell(f"{table.name}: copied")
    await _fill_index(target)
    tell("search: indexed")
    tallies = await _compare(source, target, copied, numbers)
    await target.write(copies.finish)
    return Copied(sum(tally.rows for tally in tallies.values()), tallies, left)


async def _check_source(source: Source, sets: Sets) -> tuple[str, ...]:
    """The sets of plugins that are not here."""
    waiting = await copies.waiting(source, sets)
    if waiting:
        raise SetupError(f"{len(waiting)} migrations are to run on the database first: run `chatserver migrate`.")
    known = {name for name, _ in sets}
    return tuple(name for name in await source.read(sets_in) if name not in known)


async def open_target(target: Database, sets_of: Callable[[str], Sets], engine: str, *, resumes: bool) -> None:
    """Bring the target to where the first, or the next, page can be written. engine: the source's. Raises SetupError
    for a target that holds something else than an unfinished copy."""
    names, sets = tables.tables_of(sets_of(engine)), sets_of(target.engine)
    started = await copies.waiting(target, [*sets, *copies.SETS])
    is_begun = f"{COPY_SET}/{copies.SETS[0][1][0].name}" not in started
    if is_begun and not resumes:
        raise SetupError("The target holds a copy that was not finished. Go on with --resume, or empty it.")
    if not is_begun:
        first = f"{sets[0][0]}/{sets[0][1][0].name}"
        if first not in started:
            await target.migrate(sets)
            full = await target.read(lambda tx: [one.name for one in names if tables.count_rows(tx, one.name)])
            if full:
                raise SetupError(f"The target is not empty ({full[0]} has rows), and nothing was copied. Name another.")
    await target.migrate([*sets, *copies.SETS])


async def _describe(source: Source, target: Database, named: Named) -> Table:
    here = await source.read(lambda tx: tables.describe(tx, named))
    there = await target.read(lambda tx: tables.describe(tx, named))
    if here != there:
        raise SetupError(
            f"The table {named.name} is not the same on both engines ({here.columns} and {there.columns}), so it cannot"
            " be copied."
        )
    return here


async def _copy_rows(source: Source, target: Database, table: Table) -> None:
    at = await target.read(lambda tx: copies.progress_of(tx, table.name))
    while not at.is_done:
        rows = await source.read(partial(tables.page_of, table=table, after=at.position, limit=PAGE))
        position = tables.next_position(table, rows, at.position) if rows else at.position
        after = Progress(position, len(rows) < PAGE)

        def put(tx: Tx, rows: list[tables.Row] = rows, before: Progress = at, after: Progress = after) -> None:
            copies.enter(tx, table.name, before)
            tables.insert(tx, table, rows)
            copies.note(tx, table.name, after)

        await target.write(put)
        at = after


async def _copy_links(source: Source, target: Database, table: Table) -> None:
    """The references that pointed ahead when their rows were copied."""
    name = f"{table.name} links"
    at = await target.read(lambda tx: copies.progress_of(tx, name))
    while not at.is_done:
        rows = await source.read(partial(tables.late_links, table=table, after=at.position, limit=PAGE))
        position = rows[-1][: len(table.key)] if rows else at.position
        after = Progress(position, len(rows) < PAGE)

        def put(tx: Tx, rows: list[tables.Row] = rows, before: Progress = at, after: Progress = after) -> None:
            copies.enter(tx, name, before)
            tables.link(tx, table, rows)
            copies.note(tx, name, after)

        await target.write(put)
        at = after


async def _fill_index(target: Database) -> None:
    """Each engine has its own form of it: worked out anew from the entries, the titles and the messages."""
    at = await target.read(lambda tx: copies.progress_of(tx, INDEX))
    await target.write(search.expect_many)
    while not at.is_done:

        def fill(tx: Tx, before: Progress = at) -> Progress:
            copies.enter(tx, INDEX, before)
            last = search.fill_index(tx, before.position[0] if before.position else 0, PAGE)
            after = Progress(before.position, True) if last is None else Progress((last,))
            copies.note(tx, INDEX, after)
            return after

        at = await target.write(fill)
    await target.write(search.settle)


async def _compare(source: Source, target: Database, copied: list[Table], numbers: dict[str, int]) -> dict[str, Tally]:
    """Every table on both sides, read again from the first row to the last. Raises SetupError where they differ.

    numbers: how far the source's own had counted when it was copied; they count on beside any snapshot.
    """
    tallies = {}
    for table in copied:
        counted = 0
        if table.numbered:
            counted = await target.read(partial(tables.last_number, table=table))
        here = await _tally(source, table, numbers.get(table.name, 0))
        there = await _tally(target, table, counted)
        if here != there:
            what = f"{here.rows} rows here and {there.rows} there" if here.rows != there.rows else "their contents"
            raise SetupError(
                f"The copy is not equal: the table {table.name} differs ({what}). Was the source written to? Empty the"
                " target and copy again, with no server on the source."
            )
        tallies[table.name] = here
    entries, indexed = await target.read(
        lambda tx: (tables.count_rows(tx, "search_entries"), tables.count_rows(tx, INDEX))
    )
    if entries != indexed:
        raise SetupError(f"The search index of the copy is incomplete: {indexed} of {entries}. Empty it, copy again.")
    return tallies


async def _tally(db: Source, table: Table, counted: int) -> Tally:
    rows, total = 0, counted
    position: tables.Position = ()
    while page := await db.read(partial(tables.page_of, table=table, after=position, limit=PAGE)):
        rows += len(page)
        total = (total + tables.sum_of(page, len(table.columns))) % tables.MAX_SUM
        position = tables.next_position(table, page, position)
    return Tally(rows, f"{total:032x}")
