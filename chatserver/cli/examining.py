"""What doctor and verify look at and say of it: the invariants of the database, and what files hold."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from chatserver.plugins import Plugins
    from chatserver.settings import Settings

NOTICES_MOST = 20
"""Said by doctor, the newest first."""


async def examine_database(settings: Settings, plugins: Plugins, *, repair: bool, reads_files: bool = False) -> bool:
    """Whether all invariants hold, at the end."""
    from chatserver.chat import doctor
    from chatserver.databases import open_database
    from chatserver.domain.notices import fill_in
    from chatserver.house import migration_sets
    from chatserver.store import notices

    db = await open_database(settings, plugins, alone=False)
    try:
        waiting = await db.plan(migration_sets(db.engine, plugins))
        if waiting:
            click.echo(f"database: {len(waiting)} migrations are to run first; serve or migrate runs them.")
            return True
        findings = await (doctor.repair(db) if repair else doctor.examine(db))
        told = await db.read(notices.standing)
    finally:
        await db.close()
    for finding in findings:
        word = "mended" if finding.mended else "waits" if finding.passes else "broken"
        click.echo(f"{word}: {finding.sentence} ({finding.kind})")
    for notice in told[:NOTICES_MOST]:
        # no fault of the database, and what an admin would ask first
        click.echo(f"notice: {notice.source or 'chatserver'}: {fill_in(notice.sentence, notice.values)}")
    broken = sum(not (finding.mended or finding.passes) for finding in findings)
    click.echo(f"database: {broken} broken" if broken else "database: all is well")
    return await examine_files(settings, plugins, repair=repair, reads_all=reads_files) and not broken


async def examine_files(settings: Settings, plugins: Plugins, *, repair: bool = False, reads_all: bool = False) -> bool:
    """Whether the store has what files hold."""
    from chatserver.chat.contents import remove_strays, take_stock
    from chatserver.databases import open_blobs, open_database

    async with AsyncExitStack() as stack:
        blobs = await open_blobs(settings, plugins)
        stack.push_async_callback(blobs.close)
        db = await open_database(settings, plugins, alone=False)
        stack.push_async_callback(db.close)
        stock = await take_stock(db, blobs, reads_all=reads_all)
        for finding in stock.findings:
            click.echo(f"broken: {finding.sentence} ({finding.kind})")
        if stock.findings:
            click.echo(f"files: {len(stock.findings)} of {stock.contents} contents are broken")
        elif stock.contents:
            click.echo(f"files: all is well, {stock.contents} contents of {stock.size_bytes / 1e6:.1f} MB")
        if stock.strays and repair:
            await remove_strays(db, blobs, stock)
            click.echo(f"mended: {len(stock.strays)} contents that belong to nothing were removed")
        elif stock.strays:
            click.echo(
                f"files: {len(stock.strays)} contents ({stock.stray_bytes / 1e6:.1f} MB) in the store belong to nothing"
                " in this database; `chatserver doctor --repair` removes them"
            )
    return not stock.findings
