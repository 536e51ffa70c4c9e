"""Keeps the files of a house in an S3 bucket: `CHATSERVER_BLOB_URL=s3://bucket/prefix`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chatserver import BlobKind, BlobStore, Setting, hookimpl


@hookimpl
def register_settings() -> list[Setting]:
    return [
        Setting("endpoint", "Where the service is, when it is not AWS: https://s3.example.org", env="AWS_ENDPOINT_URL"),
        Setting("region", "The region of the bucket.", default="us-east-1", env="AWS_REGION"),
        Setting("path_style", "Name the bucket in the path, not in the host.", kind="boolean", default="true"),
        Setting("access_key_id", "The key's id; without one the machine's role.", "secret", env="AWS_ACCESS_KEY_ID"),
        Setting("secret_access_key", "The key.", kind="secret", env="AWS_SECRET_ACCESS_KEY"),
        Setting("session_token", "Of a key that is lent for a while.", kind="secret", env="AWS_SESSION_TOKEN"),
    ]


@hookimpl
def register_blob_stores() -> list[BlobKind]:
    return [BlobKind("s3", ("s3",), open_bucket)]


async def open_bucket(url: str, settings: Mapping[str, Any], secret: Callable[[str], str | None]) -> BlobStore:
    from chatserver_s3.bucket import Bucket

    return await Bucket.open(url, settings, secret)
