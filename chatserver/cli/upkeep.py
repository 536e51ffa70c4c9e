"""Looking after a server: migrations, plugins, and what is wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from chatserver.cli.base import commands, load_plugins, places, read_settings
from chatserver.cli.examining import examine_database

if TYPE_CHECKING:
    from chatserver.plugins import Plugins


@commands.command()
@click.option("--plan", is_flag=True, help="Only say what would be done.")
@places
def migrate(plan: bool, data: str | None, config: str | None) -> None:
    """Bring the database up to date; serve does it by itself."""
    from chatserver.databases import has_database, holding, open_database
    from chatserver.house import migration_sets

    settings = read_settings(data, config)
    plugins = load_plugins(settings)
    if plan and not has_database(settings):
        click.echo("There is no database yet; serve makes it.")
        return

    async def run() -> list[str]:
        db = await open_database(settings, plugins, alone=not plan)
        try:
            sets = migration_sets(db.engine, plugins)
            return await (db.plan(sets) if plan else db.migrate(sets))
        finally:
            await db.close()

    if plan:
        titles = asyncio.run(run())
    else:
        with holding(settings):
            titles = asyncio.run(run())
    for title in titles:
        click.echo(title)
    click.echo(f"{len(titles)} {'to run' if plan else 'run'}." if titles else "Nothing to do.")


@commands.command("plugins")
@places
def list_plugins(data: str | None, config: str | None) -> None:
    """List what is installed: what is on, and what waits to be allowed."""
    settings = read_settings(data, config, makes_key=False)
    for line in load_plugins(settings, is_lenient=True).report():
        origin = f"{line.distribution} {line.version}".strip() or "-"
        fingerprint = f"  {line.fingerprint}" if line.fingerprint else ""
        click.echo(f"{line.name:<14} {line.state:<18} {origin}{fingerprint}")
        if line.reason:
            click.echo(f"{'':<14} {line.reason}")


@commands.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@places
def doctor(repair: bool, data: str | None, config: str | None) -> None:
    """Look for what is wrong. Exits 1 only when something that must always hold does not."""
    from chatserver.databases import has_database

    settings = read_settings(data, config, makes_key=False)
    plugins = load_plugins(settings, is_lenient=True)
    _say_installed(plugins)
    click.echo(f"data: {settings.data_dir}")
    if not has_database(settings):
        click.echo("database: none yet; serve makes it.")
        return
    if not asyncio.run(examine_database(settings, plugins, repair=repair)):
        raise click.exceptions.Exit(1)


def _say_installed(plugins: Plugins) -> None:
    from chatserver.plugins.drift import changed_files, path_files

    for line in plugins.report():
        click.echo(f"plugin {line.name}: {line.state}, {line.distribution} {line.version} {line.fingerprint}".rstrip())
        if line.reason:
            click.echo(f"  {line.reason}")
        for changed in changed_files(line.distribution) if line.distribution else ():
            click.echo(f"  changed since it was installed: {changed}")
    for path in path_files():
        click.echo(f"runs at every start of this Python: {path}")
