"""The `llm` command, as its users have it, with this server among its models."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from chatserver.testing.server import Site

from .conftest import rows

pytestmark = pytest.mark.asyncio(loop_scope="module")
PLACE = """
- model_id: ours
  model_name: fake-echo
  api_base: "{url}/v1"
  api_key_name: ours
"""


async def test_the_command_asks_a_model_here(site: Site, key: str, tmp_path: Path) -> None:
    (tmp_path / "extra-openai-models.yaml").write_text(PLACE.format(url=site.url))
    before = len(await rows(site, "fake-echo"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "llm", "prompt", "-m", "ours", "--key", key, "-n"),
        "Say this back",
        # only the plugin it has built in: whatever else is installed beside the tests is none of its business
        env={**os.environ, "LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()
    assert said.decode().strip() == "Say this back"
    assert [row[:2] for row in await rows(site, "fake-echo")][before:] == [("done", "api")]
