"""What the settings mean for the database and the bus."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from chatserver import databases, settings
from chatserver.domain.buses import Bus, BusKind
from chatserver.domain.extend import BlobKind, BlobStore, Setting
from chatserver.errors import SetupError
from chatserver.hookspecs import hookimpl
from chatserver.plugins import Plugins
from chatserver.store.folder import FolderStore
from chatserver.testing.blobs import put, read


class Silence:
    """A bus for the URLs of one scheme, which remembers the one it was given."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.url = ""

    @hookimpl
    def register_buses(self) -> list[BusKind]:
        return [BusKind(self.scheme, (self.scheme,), self.open)]

    async def open(self, url: str, told: object) -> Bus:
        self.url = url
        return self  # type: ignore[return-value]


def told(tmp_path: Path, **variables: str) -> settings.Settings:
    names = {f"CHATSERVER_{name.upper()}": value for name, value in variables.items()}
    environ = {"CHATSERVER_SECRET_KEY": "x" * 32, "CHATSERVER_CONFIG": str(tmp_path / "c.toml"), **names}
    return settings.load({"data": str(tmp_path)}, environ)


async def test_redis_is_asked_first_and_the_database_where_nobody_serves_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    far, near = Silence("redis"), Silence("postgresql")
    both = Plugins.load(found=[], extra=[("far", far), ("near", near)])
    one = Plugins.load(found=[], extra=[("near", near)])
    here = told(tmp_path, database_url="postgresql://db", redis_url="redis://cache")
    assert await databases.open_bus(here, both) is far  # type: ignore[comparison-overlap]
    assert far.url == "redis://cache"
    assert not caplog.messages
    assert await databases.open_bus(here, one) is near  # type: ignore[comparison-overlap]
    assert near.url == "postgresql://db"
    assert "no installed plugin serves it" in caplog.messages[0]
    assert await databases.open_bus(told(tmp_path, redis_url="redis://cache"), both) is None


async def test_a_database_nobody_serves_is_named_once_with_what_to_install(tmp_path: Path) -> None:
    none = Plugins.load(found=[], extra=[])
    with pytest.raises(SetupError, match=r"^CHATSERVER_DATABASE_URL: .* takes chatserver-postgres\."):
        await databases.open_database(told(tmp_path, database_url="postgresql://db"), none, alone=True)
    (tmp_path / "c.toml").write_text('database_url = "postgresql://db"')
    with pytest.raises(SetupError, match=r"^CHATSERVER_DATABASE_URL \(.*c\.toml.*\): "):
        await databases.open_database(told(tmp_path), none, alone=True)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///srv/chat", "/srv/chat/chatserver.sqlite"),
        ("sqlite:///srv/a%20b.db", "/srv/a b.db"),
        ("sqlite:////srv/chat.sqlite", "/srv/chat.sqlite"),
        ("sqlite://here/chat.sqlite", "{cwd}/here/chat.sqlite"),
        ("sqlite://here", "{cwd}/here/chatserver.sqlite"),
    ],
)
def test_a_url_names_a_file_of_sqlites(url: str, path: str) -> None:
    assert str(databases.sqlite_path(url)) == path.format(cwd=Path.cwd())


async def test_a_target_nobody_serves_is_refused_with_a_sentence() -> None:
    assert databases.sqlite_path("postgresql://db/chat") is None
    with pytest.raises(SetupError, match="No installed plugin serves such a database"):
        await databases.open_target("cabinet://x", Plugins.load(found=[], extra=[]))


class Cellar:
    """A plugin with a blob store, which remembers what it was opened with."""

    def __init__(self) -> None:
        self.told: tuple[object, ...] = ()

    @hookimpl
    def register_settings(self) -> list[Setting]:
        return [Setting("shelf", "Which one.", default="top"), Setting("key", "Of the door.", kind="secret")]

    @hookimpl
    def register_blob_stores(self) -> list[BlobKind]:
        return [BlobKind("cellar", ("cellar", "cave"), self.open)]

    async def open(self, url: str, settings: object, secret: object) -> BlobStore:
        self.told = url, dict(settings), secret("key"), secret("other")  # type: ignore[call-overload, operator]
        return self  # type: ignore[return-value]


async def test_files_lie_in_the_data_folder_unless_a_url_says_where(tmp_path: Path) -> None:
    nothing = Plugins.load(found=[], extra=[])
    store = await databases.open_blobs(told(tmp_path), nothing)
    assert isinstance(store, FolderStore) and store.folder == tmp_path / "blobs"
    elsewhere = tmp_path / "with space"
    other = await databases.open_blobs(told(tmp_path, blob_url=f"file://{tmp_path}/with%20space"), nothing)
    assert await read(other, await put(other, b"hello")) == b"hello"
    assert elsewhere.is_dir()
    for url, why in (
        ("s3://bucket", "takes chatserver-s3"),
        ("file://host/folder", "file:///"),
        ("file:///", "file:///"),
    ):
        with pytest.raises(SetupError, match=why) as refused:
            await databases.open_blobs(told(tmp_path, blob_url=url), nothing)
        assert "CHATSERVER_BLOB_URL" in refused.value.message


async def test_a_plugin_opens_the_blob_store_of_its_scheme(tmp_path: Path) -> None:
    cellar = Cellar()
    here = told(tmp_path, blob_url="cave://below")
    texts = {"cellar": {"key": "iron", "shelf": "low"}}
    plugins = Plugins.load(extra=[("cellar", cellar)], found=[], settings_values=texts)
    assert await databases.open_blobs(here, plugins) is cellar  # type: ignore[comparison-overlap]
    assert cellar.told == ("cave://below", {"shelf": "low"}, "iron", None)
