"""What docs/plugins/artifacts.md shows works as it stands there."""

from __future__ import annotations

import re
import types
from pathlib import Path

from chatserver.testing.server import open_site
from chatserver.testing.upstream import FakeUpstream

from .test_artifacts import FIRST, ask, start

DOCS = Path(__file__).parents[3] / "docs" / "plugins" / "artifacts.md"
POEM = "```poem\nThe oak\nstands <still>\n```"


async def test_the_examples_of_the_docs(tmp_path: Path, fake_upstream: FakeUpstream) -> None:
    module = types.ModuleType("documented")
    for code in re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(code, str(DOCS), "exec"), module.__dict__)
    async with open_site(tmp_path, fake_upstream.base_url, plugins=[("poems", module.Poems())]) as site:
        ada, eve = await site.sign_up("ada@example.org"), await site.sign_up("eve@example.org")
        chat = await start(ada)
        one = await ask(ada, chat, FIRST)
        two = await ask(ada, chat, POEM, one["reply_id"])
        key = await site.make_key("ada@example.org")
        assert await module.made_in(site.url, key, chat) == ["A clock (html, 1)"]
        address = f"/x/poems/{two['reply_id']}"
        page = (await ada.get(f"/c/{chat}")).text
        assert f'class="cover-card" href="{address}"' in page and '<b dir="auto">The oak</b>' in page
        assert "stands &lt;still&gt;" in (await ada.get(address)).text
        assert (await eve.get(address)).status_code == 404
        assert (await ada.get(f"/x/poems/{one['reply_id']}")).status_code == 404
