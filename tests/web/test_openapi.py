"""The description of the API is complete, and what a fuzzer makes of it breaks nothing."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import hypothesis
import msgspec
import pytest
import schemathesis
import schemathesis.specs.openapi.schemas  # not first in the thread below: compiling beside a test that recurses fails
from litestar.routes import HTTPRoute

from chatserver.testing.server import Site

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXAMPLES = 12
"""Per operation and visitor; `make torture` may take more."""
NOT_DESCRIBED = {"/api/openapi.json"}


async def test_every_operation_of_the_api_is_described(shared_site: Site) -> None:
    described = (await shared_site.browser().get("/api/openapi.json")).json()["paths"]
    found = {(path, method.upper()) for path, methods in described.items() for method in methods if method != "options"}
    for route in shared_site.app.routes:
        if isinstance(route, HTTPRoute) and route.path.startswith("/api/") and route.path not in NOT_DESCRIBED:
            for method in route.methods - {"OPTIONS"}:
                assert (route.path_format, method) in found
    assert not any(path.startswith(("/c/", "/send", "/sign-in", "/x")) for path in described)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("visitor", ["nobody", "key", "session"])
async def test_a_fuzzer_finds_no_5xx(shared_site: Site, visitor: str) -> None:
    site = shared_site
    ada = await site.sign_up(f"fuzz-{visitor}@example.org", role="admin")
    headers = {"sec-fetch-site": "same-origin"}
    if visitor == "key":
        headers["authorization"] = f"Bearer {await site.make_key(f'fuzz-{visitor}@example.org')}"
    elif visitor == "session":
        headers |= {"cookie": f"sid={ada.cookies['sid']}", "x-csrf": ada.csrf}
    document = (await ada.get("/api/openapi.json")).json()
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    operations = await asyncio.to_thread(fuzz, document, site.url, headers, seed)
    assert operations >= 15


def fuzz(document: dict[str, Any], url: str, headers: dict[str, str], seed: int) -> int:
    schema = schemathesis.openapi.from_dict(document)
    count = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        count += 1

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        @hypothesis.given(case=operation.as_strategy())
        def run(case: Any) -> None:
            response = case.call(base_url=url, headers=headers)
            if response.status_code >= 500:
                assert response.status_code in (503, 507), (case.as_curl_command(), response.content[:300])
                assert "Retry-After" in response.headers or "retry-after" in response.headers
            if response.status_code >= 400:
                error = msgspec.json.decode(response.content)["error"]
                assert set(error) == {"code", "message", "request_id"}

        run()
    return count
