"""What every test of the core may use."""

from __future__ import annotations

import hypothesis
import pytest

from chatserver import logs

# How long an example takes says how busy the machine is, and nothing else.
hypothesis.settings.register_profile("house", deadline=None)
hypothesis.settings.load_profile("house")


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """The log as the server writes it: the library's default draws every error in colours, which takes a second."""
    logs.configure("debug")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with browser tests last: their driver keeps a loop running on this thread, beside which no async test can
    run. Of several workers each takes a file at a time, in this order."""
    in_browser = {item.path for item in items if "browser" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in in_browser)
    for item in items:
        if item.path in in_browser:  # docs/decisions/0116: what fails twice has failed; once is named in the summary
            item.add_marker(pytest.mark.flaky(reruns=1))
