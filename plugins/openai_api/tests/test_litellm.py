"""LiteLLM's client against a running server: in an environment of its own, because it brings half a world."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from chatserver.testing.server import Site

from .conftest import rows

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.torture, pytest.mark.timeout(1200)]
SCRIPT = """
import json, sys, litellm
base, key = sys.argv[1:]
hello = [{"role": "user", "content": "Hello there"}]
whole = litellm.completion(model="openai/fake-echo", api_base=base + "/v1", api_key=key, messages=hello)
stream = litellm.completion(
    model="openai/fake-echo", api_base=base + "/v1", api_key=key, messages=hello, stream=True,
    stream_options={"include_usage": True},
)
pieces = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
other = litellm.completion(
    model="anthropic/fake-echo", api_base=base, api_key=key, messages=hello, max_tokens=50
)
vectors = litellm.embedding(model="openai/fake-echo", api_base=base + "/v1", api_key=key, input=["one two"])
try:
    litellm.completion(model="openai/nobody", api_base=base + "/v1", api_key=key, messages=hello, num_retries=0)
except litellm.NotFoundError:
    refused = "not found"
print(json.dumps({
    "whole": whole.choices[0].message.content, "pieces": pieces, "other": other.choices[0].message.content,
    "vector": vectors.data[0]["embedding"], "refused": refused, "tokens": whole.usage.completion_tokens,
}))
"""


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complained = await process.communicate()
    assert process.returncode == 0, complained.decode()[-3000:]
    return said.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("litellm")


async def test_its_client_speaks_both_formats(site: Site, key: str, folder: Path) -> None:
    python = os.environ.get("LITELLM_PYTHON", "")
    if not python:
        await run(sys.executable, "-m", "venv", str(folder))
        python = str(folder / "bin" / "python")
        await run(python, "-m", "pip", "install", "-q", "litellm")
    said = json.loads((await run(python, "-c", SCRIPT, site.url, key)).strip().splitlines()[-1])
    assert said["whole"] == said["pieces"] == said["other"] == "Hello there"
    assert said["vector"][:2] == [7.0, 2.0] and said["refused"] == "not found" and said["tokens"] > 0
    assert {row[:2] for row in await rows(site, "fake-echo")} == {("done", "api")}
