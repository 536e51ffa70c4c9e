"""Sign in with an e-mail address and a password."""

from __future__ import annotations

from chatserver import AuthBackend, Context, Migration, hookimpl
from chatserver_password.backend import PasswordBackend

_backend = PasswordBackend()


@hookimpl()
def register_migrations() -> list[Migration]:
    return [
        Migration(
            "0001_first",
            (
                "CREATE TABLE password_credentials (account_id TEXT PRIMARY KEY, hash TEXT NOT NULL,"
                " changed_at BIGINT NOT NULL)",
            ),
        )
    ]


@hookimpl()
def register_auth_backends() -> list[AuthBackend]:
    return [_backend]


@hookimpl()
async def startup(ctx: Context) -> None:
    _backend.open(ctx)


@hookimpl()
async def shutdown() -> None:
    _backend.close()
