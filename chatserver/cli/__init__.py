"""The command line: reads the settings, builds what a command needs, and says in one sentence what went wrong."""

from __future__ import annotations

import click

from chatserver.cli import accounts, backups, moving, scaffold, serving, upkeep
from chatserver.cli.base import commands
from chatserver.errors import ChatserverError

__all__ = ["accounts", "backups", "commands", "main", "moving", "scaffold", "serving", "upkeep"]


def main() -> None:
    """Exit 0, or with a sentence on standard error."""
    try:
        # Not standalone, click hands back the status of an Exit instead of ending the process.
        raise SystemExit(commands(standalone_mode=False, prog_name="chatserver") or 0)
    except (click.Abort, KeyboardInterrupt):
        raise SystemExit(130) from None
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from None
    except ChatserverError as error:
        click.echo(error.message, err=True)
        raise SystemExit(1) from None
    except OSError as error:
        click.echo(f"{error.filename or 'The system'}: {error.strerror or error}", err=True)
        raise SystemExit(1) from None
