"""A plugin's addresses for programs: a session or a key opens them, with the route's permission and no other."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chatserver import ApiAnswer, ApiVisit, Route, hookimpl
from chatserver.testing.server import open_site


class Word(msgspec.Struct):
    word: str


class Counter:
    """Counts letters, and hands out a picture."""

    @hookimpl
    def register_routes(self) -> list[Route]:
        return [
            Route("/count/{times}", api=self.count, methods=("POST",)),
            Route("/picture", api=self.picture, permission="admin.console"),
            Route("/gone", api=self.gone, methods=("DELETE",)),
        ]

    async def count(self, visit: ApiVisit) -> ApiAnswer:
        times = int(visit.path["times"]) * int(visit.query.get("twice", "1"))
        return ApiAnswer({"letters": len(visit.read(Word).word) * times, "tags": visit.listed("tag")}, 201)

    async def picture(self, visit: ApiVisit) -> ApiAnswer:
        assert visit.headers["host"] in visit.origin
        return ApiAnswer(body=b"png", media_type="image/png", headers={"content-security-policy": "sandbox"})

    async def gone(self, visit: ApiVisit) -> ApiAnswer:
        return ApiAnswer(status=204)


async def test_a_session_or_a_key_with_the_permission_opens_it(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("counter", Counter())]) as site:
        ada = await site.sign_up("ada@example.org")
        program = site.api(await site.make_key("ada@example.org"))
        for client in (ada, program):
            told = await client.post("/x/counter/count/3?twice=2&tag=a&tag=b", json={"word": "oak"})
            assert (told.status_code, told.json()) == (201, {"letters": 18, "tags": ["a", "b"]})
            for body in (b"{", b'{"word": 1}', b"\xff"):
                bad = await client.post("/x/counter/count/3", content=body)
                assert bad.status_code in (400, 422) and bad.json()["error"]["code"] == "bad_input"
            assert (await client.post("/x/counter/count/3", content=b"x" * 1_100_000)).status_code == 413
            assert (await client.get("/x/counter/count/3")).status_code == 405
            assert (await client.get("/x/counter/picture")).status_code == 403
            assert (await client.delete("/x/counter/gone")).status_code == 204
        narrow = site.api(await site.make_key("ada@example.org", scopes=("keys.manage",)))
        assert (await narrow.post("/x/counter/count/3", json={"word": "oak"})).status_code == 403
        assert (await site.browser().post("/x/counter/count/3", json={"word": "oak"})).status_code in (401, 403)
        root = await site.sign_up("root@example.org", role="admin")
        picture = await root.get("/x/counter/picture")
        assert (picture.content, picture.headers["content-type"]) == (b"png", "image/png")
        assert picture.headers["content-security-policy"] == "sandbox"
        assert picture.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wrong", [{}, {"api": Counter().gone, "page": Counter().gone}])
def test_a_route_is_one_thing(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="one of"):
        Route("/x", **wrong)  # type: ignore[arg-type]
