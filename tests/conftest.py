"""What every test of the core may use."""

from __future__ import annotations

import pytest

from chatserver import logs


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """The log as the server writes it: the library's default draws every error in colours, which takes a second."""
    logs.configure("debug")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last: their driver keeps a loop running on this thread, beside which no async test can run."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))
