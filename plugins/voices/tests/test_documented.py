"""The voice and the ear that docs/plugins/voices.md shows, heard and asked by those they are for."""

from __future__ import annotations

import re
import types
from pathlib import Path

import openai
import pytest

from chatserver.testing.server import open_site

DOCS = Path(__file__).parents[3] / "docs" / "plugins" / "voices.md"

pytestmark = pytest.mark.timeout(60)


def shown() -> types.ModuleType:
    module = types.ModuleType("shown")
    for code in re.findall(r"^```python\n(.*?)^```$", DOCS.read_text(), re.DOTALL | re.MULTILINE):
        exec(compile(code, str(DOCS), "exec"), module.__dict__)
    return module


async def test_the_ear_of_the_docs_is_asked(tmp_path: Path) -> None:
    async with open_site(tmp_path, plugins=[("ear", shown().Ear())], disabled=["dictation"]) as site:
        await site.house.accounts.create("ann@example.org")
        key = await site.make_key("ann@example.org")
        async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
            heard = await client.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"sound"))
        assert heard.text == "5 bytes of a.wav"


async def test_the_voice_of_the_docs_hums_for_its_choir(tmp_path: Path) -> None:
    module = shown()
    async with open_site(tmp_path, plugins=[("hum", module.Hum())]) as site:
        await site.house.accounts.create("ann@example.org", groups=("choir",))
        await site.house.accounts.create("eve@example.org")
        for email in ("ann@example.org", "eve@example.org"):
            key = await site.make_key(email)
            async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0) as client:
                ask = client.audio.speech.create(model="tts-1", voice="hum", input="hello", response_format="pcm")
                if email.startswith("ann"):
                    assert (await ask).content == module.HUM * 50
                else:
                    with pytest.raises(openai.PermissionDeniedError) as refused:
                        await ask
                    assert refused.value.code == "voice_not_allowed"
