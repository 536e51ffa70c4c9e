"""Accounts and their keys, also beside a running server."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from chatserver.cli.base import account_of, commands, places, with_accounts
from chatserver.clock import now_us
from chatserver.domain.audit import COMMAND_LINE
from chatserver.errors import SetupError

if TYPE_CHECKING:
    from chatserver.chat.accounts import Accounts
    from chatserver.domain.access import Account, AccountRole


DAY_US = 86_400 * 1_000_000
ROLES = click.Choice(["admin", "member"])
STATES = click.Choice(["active", "suspended", "disabled"])


@commands.group()
def account() -> None:
    """Make and change accounts, also beside a running server."""


@account.command("create")
@click.option("--email", required=True)
@click.option("--name", default="")
@click.option("--role", type=ROLES, default="member", show_default=True)
@click.option("--groups", default="default", show_default=True, metavar="A,B")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@places
def create_account(
    email: str, name: str, role: AccountRole, groups: str, password_stdin: bool, data: str | None, config: str | None
) -> None:
    """Make an account. Without a password it cannot sign in, but may hold API keys."""
    secret = _read_password(password_stdin, asks=True)

    async def run(accounts: Accounts) -> Account:
        return await accounts.create(email, name=name, role=role, groups=_names(groups), secret=secret, by=COMMAND_LINE)

    made = with_accounts(data, config, run)
    without = "" if secret else ", without a password"
    click.echo(f"{made.email} is now {'an admin' if made.role == 'admin' else 'a member'}{without}.")


@account.command("update")
@click.option("--email", required=True)
@click.option("--name")
@click.option("--role", type=ROLES)
@click.option("--state", type=STATES)
@click.option("--suspend", "state", flag_value="suspended", help="Out within seconds: sign-ins, keys, links, answers.")
@click.option("--restore", "state", flag_value="active", help="Let a suspended account in again.")
@click.option("--groups", metavar="A,B")
@click.option("--password-stdin", is_flag=True, help="Read a new password from standard input.")
@places
def update_account(
    email: str,
    name: str | None,
    role: str | None,
    state: str | None,
    groups: str | None,
    password_stdin: bool,
    data: str | None,
    config: str | None,
) -> None:
    """Change an account."""
    secret = _read_password(password_stdin, asks=False)
    changes: dict[str, Any] = {"name": name, "role": role, "state": state}
    changes["groups"] = None if groups is None else _names(groups)
    given = {key: value for key, value in changes.items() if value is not None}

    async def run(accounts: Accounts) -> None:
        found = await account_of(accounts, email)
        if given:
            await accounts.update(found.id, **given, by=COMMAND_LINE)
        if secret is not None:
            await accounts.set_secret(found.id, secret, by=COMMAND_LINE)

    if not given and secret is None:
        raise click.UsageError(
            "Say what to change: --name, --role, --suspend, --restore, --groups or --password-stdin."
        )
    with_accounts(data, config, run)
    click.echo(f"{email} was changed.")


@commands.group()
def key() -> None:
    """Make API keys."""


@key.command("create")
@click.option("--account", "email", required=True, metavar="EMAIL")
@click.option("--name", default="command line", show_default=True)
@click.option(
    "--scopes", default="", metavar="A,B", help="What it may do, as models.use; all its account may if absent."
)
@click.option("--models", default="", metavar="A,B", help="The models it may use; all its account may if absent.")
@click.option("--days", type=click.IntRange(1, 3650), help="When it ends; never if absent.")
@click.option("--requests-per-minute", type=click.IntRange(1, 1_000_000), default=None, help="Its own limit.")
@places
def create_key(
    email: str,
    name: str,
    scopes: str,
    models: str,
    days: int | None,
    requests_per_minute: int | None,
    data: str | None,
    config: str | None,
) -> None:
    """Make an API key and print it, alone, on standard output. It is shown this once."""

    async def run(accounts: Accounts) -> str:
        made = await accounts.create_key(
            await account_of(accounts, email),
            name,
            _names(scopes),
            now_us() + days * DAY_US if days else None,
            models=_names(models),
            requests_per_minute=requests_per_minute or 0,
            by=COMMAND_LINE,
        )
        return made.secret

    click.echo(with_accounts(data, config, run))


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _read_password(from_stdin: bool, *, asks: bool) -> str | None:
    if from_stdin:
        line = sys.stdin.readline()
        if not line.rstrip("\r\n"):
            raise SetupError("No password came on standard input.")
        return line.rstrip("\r\n")
    if asks and sys.stdin.isatty():
        return click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return None
