"""A bucket keeps the contract of blob stores, says what is wrong with it, and is away without harm."""

from __future__ import annotations

from collections.abc import AsyncIterator

import chatserver_s3
import pytest

from chatserver import BlobStore, NotFound, SetupError, Unavailable, clock
from chatserver.testing.blobs import BlobStoreContract, put, read
from chatserver.testing.s3 import S3Server

KEYS = {"access_key_id": "test", "secret_access_key": "test"}


async def open_bucket(url: str, endpoint: str, secrets: dict[str, str] = KEYS) -> BlobStore:
    settings = {"endpoint": endpoint, "region": "us-east-1", "path_style": True}
    return await chatserver_s3.open_bucket(url, settings, secrets.get)


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.create(f"bucket-{clock.new_id()}")


class TestBucket(BlobStoreContract):
    @pytest.fixture
    async def store(self, s3_server: S3Server, bucket: str) -> AsyncIterator[BlobStore]:
        store = await open_bucket(f"s3://{bucket}/deep/prefix", s3_server.endpoint)
        yield store
        await store.close()


async def test_two_prefixes_of_one_bucket_do_not_mix(s3_server: S3Server, bucket: str) -> None:
    one = await open_bucket(f"s3://{bucket}/one", s3_server.endpoint)
    other = await open_bucket(f"s3://{bucket}/other", s3_server.endpoint)
    whole = await open_bucket(f"s3://{bucket}", s3_server.endpoint)
    sha256 = await put(one, b"hello")
    assert await other.size_of(sha256) is None
    assert await whole.size_of(sha256) is None
    with pytest.raises(NotFound):
        await read(other, sha256)


async def test_what_is_wrong_is_said_at_the_start(s3_server: S3Server, bucket: str) -> None:
    with pytest.raises(SetupError, match="s3://bucket/prefix"):
        await open_bucket("s3:///prefix", s3_server.endpoint)
    with pytest.raises(SetupError, match="belong into the settings"):
        await open_bucket(f"s3://key:secret@{bucket}", s3_server.endpoint)
    with pytest.raises(SetupError, match="one half is missing"):
        await open_bucket(f"s3://{bucket}", s3_server.endpoint, {"access_key_id": "test"})
    with pytest.raises(SetupError, match="no-such-bucket-here cannot be used"):
        await open_bucket("s3://no-such-bucket-here", s3_server.endpoint)


async def test_a_service_that_is_away_is_unavailable_not_broken(caplog: pytest.LogCaptureFixture) -> None:
    server = S3Server().start()
    try:
        store = await open_bucket(f"s3://{server.create('away')}", server.endpoint)
        sha256 = await put(store, b"hello")
        server.kill()
        with pytest.raises(Unavailable) as told:
            await read(store, sha256)
        assert told.value.code == "blobs_unavailable"
        assert "127.0.0.1" not in told.value.message
        with pytest.raises(Unavailable):
            await put(store, b"another")
        (said,) = caplog.messages
        assert said.startswith("The bucket away cannot be used (") and f":{server.port}/away/" in said
        with pytest.raises(SetupError, match="away cannot be used"):
            await open_bucket("s3://away", server.endpoint)
        caplog.clear()
        server.start()
        assert await store.size_of(sha256) is None, "moto forgets"
        assert caplog.messages == ["The bucket away answers again."]
    finally:
        server.kill()
