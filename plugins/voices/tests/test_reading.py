"""Reading aloud over HTTP: this machine's voice, voices elsewhere, what is kept, and for whom."""

from __future__ import annotations

import io
import wave
from typing import Any

import pytest
import soundfile
from chatserver_voices import encoding
from chatserver_voices.espeak import Espeak

from chatserver import AudioFormat, SpeechRequest, Voice
from chatserver.testing.server import Site

from .conftest import Elsewhere

pytestmark = pytest.mark.timeout(60)


async def ask(browser: Any, text: str) -> str:
    """A chat with one answer that says the same; the answer's id."""
    chat = (await browser.post("/api/conversations", json={})).json()["id"]
    body = {"parent_id": None, "text": text, "model": "fake-echo"}
    sent = (await browser.post(f"/api/conversations/{chat}/messages", json=body)).json()
    await browser.get(f"/api/turns/{sent['turn_id']}/events?after=0")
    return str(sent["reply_id"])


async def add_voice(admin: Any, elsewhere: Elsewhere, **fields: str) -> Any:
    form = {
        "id": "ada",
        "title": "Ada",
        "base_url": elsewhere.url,
        "key": "sk-very-secret",
        "model": "tts-1",
        "voice": "alloy",
        "languages": "en, fr",
        "formats": "mp3",
    }
    return await admin.post("/x/voices/admin", data={**form, **fields})


async def test_this_machine_reads_a_message(site: Site) -> None:
    ada = await site.sign_up("ada@example.org")
    reply = await ask(ada, "The oak is a tree of the north, as everybody who walks there knows. It grows slowly.")
    told = (await ada.get(f"/x/voices/passages/{reply}")).json()
    assert [one["language"] for one in told["passages"]] == ["en", "en"]
    sound = await ada.post("/x/voices/speak", json={"message_id": reply, "passage": 0})
    assert sound.status_code == 200, sound.text
    assert sound.headers["content-type"] in ("audio/mpeg", "audio/wav")
    assert len(sound.content) > 5_000
    assert sound.headers["content-security-policy"]


async def test_what_was_heard_is_not_asked_for_again(site: Site, elsewhere: Elsewhere) -> None:
    ada = await site.sign_up("ada@example.org", role="admin")
    assert (await add_voice(ada, elsewhere)).status_code == 303
    reply = await ask(ada, "Hello there")
    asked = {"message_id": reply, "passage": 0, "voice": "ada"}
    first = await ada.post("/x/voices/speak", json=asked)
    again = await ada.post("/x/voices/speak", json=asked)
    assert first.content == again.content == b"ID3Hello there"
    assert (first.headers["content-type"], again.headers["content-type"]) == ("audio/mpeg", "audio/mpeg")
    assert len(elsewhere.asked) == 1
    body, key = elsewhere.asked[0]
    assert key == "bearer sk-very-secret"
    assert body == {"model": "tts-1", "voice": "alloy", "input": "Hello there", "response_format": "mp3", "speed": 1.0}
    console = await ada.get("/x/voices/admin")
    assert console.status_code == 200 and "with a key" in console.text and "sk-very-secret" not in console.text
    faster = await ada.post("/x/voices/speak", json={**asked, "speed": 1.5})
    assert faster.status_code == 200 and len(elsewhere.asked) == 2


async def test_anothers_message_is_an_unknown_one(site: Site) -> None:
    ada, eve = await site.sign_up("ada@example.org"), await site.sign_up("eve@example.org")
    reply = await ask(ada, "A secret.")
    for message in (reply, "01" + "0" * 24, "nothing"):
        assert (await eve.get(f"/x/voices/passages/{message}")).status_code == 404
        assert (await eve.post("/x/voices/speak", json={"message_id": message})).status_code == 404
    nobody = site.browser()
    assert (await nobody.get(f"/x/voices/passages/{reply}")).status_code == 401


async def test_what_is_said_of_a_voice_is_changed_and_what_speaks_stays(site: Site, elsewhere: Elsewhere) -> None:
    boss, eve = await site.sign_up("boss@example.org", role="admin"), await site.sign_up("eve@example.org")
    await add_voice(boss, elsewhere)
    said = {"title": "Ada of <Paris>", "languages": "fr", "groups": "singers", "formats": "wav"}
    assert (await eve.post("/x/voices/admin/ada", data=said)).status_code in (403, 404)
    assert (await boss.post("/x/voices/admin/nobody", data=said)).status_code == 404
    wrong = await boss.post("/x/voices/admin/ada", data={**said, "formats": "midi"})
    assert wrong.status_code == 422 and 'value="midi"' in wrong.text and "There is no format midi" in wrong.text
    assert (await boss.post("/x/voices/admin/ada", data={**said, "base_url": "http://evil.example"})).status_code == 303
    page = (await boss.get("/x/voices/admin")).text
    assert "Ada of &lt;Paris&gt;" in page and 'value="singers"' in page and "evil.example" not in page
    assert "with a key" in page and "sk-very-secret" not in page
    assert "Not for your account." in (await eve.get("/x/voices/")).text
    assert (await boss.post("/x/voices/admin/ada", data={**said, "groups": ""})).status_code == 303
    reply = await ask(eve, "Hello there")
    assert (await eve.post("/x/voices/speak", json={"message_id": reply, "voice": "ada"})).status_code == 200
    assert elsewhere.asked[0][0]["voice"] == "alloy"


async def test_a_voice_of_other_groups_is_greyed_and_refused(site: Site, elsewhere: Elsewhere) -> None:
    boss = await site.sign_up("boss@example.org", role="admin")
    await add_voice(boss, elsewhere, groups="singers")
    eve = await site.sign_up("eve@example.org")
    reply = await ask(eve, "Hello there")
    refused = await eve.post("/x/voices/speak", json={"message_id": reply, "voice": "ada"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "voice_not_allowed")
    page = (await eve.get("/x/voices/")).text
    assert "Not for your account." in page
    assert (await eve.post("/x/voices/", data={"voice": "ada", "speed": "1.0"})).status_code == 422
    assert (await eve.get("/x/voices/admin")).status_code in (403, 404)
    assert elsewhere.asked == []


async def test_one_chooses_a_voice_and_a_speed(site: Site, elsewhere: Elsewhere) -> None:
    ada = await site.sign_up("ada@example.org", role="admin")
    await add_voice(ada, elsewhere)
    assert (await ada.post("/x/voices/", data={"voice": "ada", "speed": "1.5"})).status_code == 303
    reply = await ask(ada, "Hello there")
    told = (await ada.get(f"/x/voices/passages/{reply}")).json()
    assert (told["voice"], told["speed"]) == ("ada", 1.5)
    await ada.post("/x/voices/speak", json={"message_id": reply})
    assert elsewhere.asked[0][0]["speed"] == 1.5


async def test_a_voice_that_is_gone_is_the_sites_own_again(site: Site, elsewhere: Elsewhere) -> None:
    ada = await site.sign_up("ada@example.org", role="admin")
    await add_voice(ada, elsewhere)
    await add_voice(ada, elsewhere, id="bea", voice="shimmer")
    await ada.post("/x/voices/", data={"voice": "bea", "speed": "1.0"})
    reply = await ask(ada, "Hello there")
    for speaks in ("bea", "default"):
        assert f'value="{speaks}" checked' in (await ada.get("/x/voices/")).text
        assert (await ada.post("/x/voices/speak", json={"message_id": reply})).status_code == 200
        await ada.post("/x/voices/admin/bea/remove", data={})
    assert [body["voice"] for body, _key in elsewhere.asked] == ["shimmer", "alloy"]
    await ada.post("/x/voices/admin/ada/remove", data={})
    again = await ada.post("/x/voices/speak", json={"message_id": reply})
    assert again.content != b"ID3Hello there", "what is kept is the voice's, and no default's"


async def test_what_is_kept_goes_with_its_account(site: Site, elsewhere: Elsewhere) -> None:
    ada, eve = await site.sign_up("ada@example.org", role="admin"), await site.sign_up("eve@example.org")
    await add_voice(ada, elsewhere)
    for who in (ada, eve):
        await who.post("/x/voices/", data={"voice": "ada", "speed": "1.5"})
        assert (await who.post("/x/voices/speak", json={"message_id": await ask(who, "Hello")})).status_code == 200
    # as if they had left while the plugin was away, so that it was never told
    nobody = "0" * 26
    for table in ("voices_choices", "voices_clips"):
        sql = f"UPDATE {table} SET account_id = :nobody WHERE account_id = :eve"
        await site.house.db.write(lambda tx, s=sql: tx.run(s, nobody=nobody, eve=eve.actor.account_id))
    job = next(one for name, one in site.house.plugins.registered("register_jobs") if name == "voices")
    await job.run({})
    for table in ("voices_choices", "voices_clips"):
        left = await site.house.db.read(lambda tx, t=table: tx.all(str, f"SELECT account_id FROM {t}"))
        assert left == [ada.actor.account_id], table


async def test_bad_input_is_told(site: Site, elsewhere: Elsewhere) -> None:
    ada = await site.sign_up("ada@example.org", role="admin")
    code = await ask(ada, "---")
    silent = await ada.get(f"/x/voices/passages/{code}")
    assert (silent.status_code, silent.json()["error"]["code"]) == (422, "nothing_to_say")
    reply = await ask(ada, "Hello there")
    assert (await ada.post("/x/voices/speak", json={"message_id": reply, "passage": 9})).status_code == 404
    assert (await ada.post("/x/voices/speak", json={"message_id": reply, "speed": 99})).status_code == 422
    assert (await ada.post("/x/voices/speak", content=b"{")).status_code == 422
    unknown = await ada.post("/x/voices/speak", json={"message_id": reply, "voice": "nobody"})
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "unknown_voice")
    for wrong in ({"base_url": "ftp://x"}, {"id": "A b"}, {"title": " "}, {"formats": "ogg"}):
        assert (await add_voice(ada, elsewhere, **wrong)).status_code == 422
    assert (await add_voice(ada, elsewhere)).status_code == 303
    assert (await add_voice(ada, elsewhere)).status_code == 422, "the name is taken"
    elsewhere.status = 500
    failed = await ada.post("/x/voices/speak", json={"message_id": reply, "voice": "ada"})
    assert failed.status_code in (502, 503)
    assert (await ada.post("/x/voices/admin/ada/remove", data={})).status_code == 303
    assert (await ada.post("/x/voices/admin/ada/remove", data={})).status_code == 404


async def test_without_a_voice_the_page_and_the_button_say_so(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none(self: Espeak) -> list[Any]:
        return []

    monkeypatch.setattr(Espeak, "list_voices", none)
    ada = await site.sign_up("ada@example.org")
    reply = await ask(ada, "Hello there")
    told = await ada.post("/x/voices/speak", json={"message_id": reply})
    assert (told.status_code, told.json()["error"]["code"]) == (404, "no_voice")
    assert "No voice is installed here." in (await ada.get("/x/voices/")).text


async def test_sound_is_made_in_every_format_that_is_told() -> None:
    samples = encoding.resampled(b"\x00\x10" * 22_050, 22_050)
    assert len(samples) == 2 * encoding.RATE_HZ
    for wanted in encoding.formats_here():
        made = await encoding.encode(samples, wanted)
        begins = {
            "mp3": (b"ID3", b"\xff"),
            "opus": (b"OggS",),
            "flac": (b"fLaC",),
            "wav": (b"RIFF",),
            "aac": (b"\xff",),
        }
        assert made.startswith(begins.get(wanted, (samples[:2],))), wanted
    with wave.open(io.BytesIO(await encoding.encode(samples, "wav"))) as read:
        assert (read.getframerate(), read.getnframes()) == (encoding.RATE_HZ, encoding.RATE_HZ)


@pytest.mark.parametrize("wanted", ["mp3", "opus", "wav", "pcm"])
async def test_a_long_text_is_heard_before_it_is_spoken_whole(wanted: AudioFormat) -> None:
    espeak = Espeak()
    text = "The first sentence of a text that is long enough to be taken apart. " * 6
    request = SpeechRequest(Voice("espeak", "Ours"), text, wanted)
    pieces = [piece async for piece in espeak.speak(request)]
    assert len([piece for piece in pieces if piece]) > 1
    given = {"channels": 1, "samplerate": encoding.RATE_HZ, "format": "RAW", "subtype": "PCM_16"}
    sound, rate_hz = soundfile.read(io.BytesIO(b"".join(pieces)), **(given if wanted == "pcm" else {}))
    assert 15 < len(sound) / rate_hz < 40
