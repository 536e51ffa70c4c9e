"""The channel profile: where an admin said, in the times the channel states, with the key for nobody else."""

from __future__ import annotations

import asyncio
import socket

import pytest

from chatserver.clock import monotonic_s
from chatserver.errors import UpstreamError
from chatserver.gateway.egress import EgressClient
from chatserver.gateway.mishaps import AddressRefused
from chatserver.testing.website import Names, Website, page

KEY = "sk-canary-4b1d"
CREDENTIALS = {"Authorization": f"Bearer {KEY}"}
HEAD = b"HTTP/1.1 200 OK\r\n\r\n"


async def read(http: EgressClient, url: str, **more: object) -> bytes:
    async with http.request("GET", url, profile="channel", **more) as response:  # type: ignore[arg-type]
        return b"".join([chunk async for chunk in response.chunks()])


async def test_any_port_of_any_private_address_is_reached(http: EgressClient, canary: list[Website]) -> None:
    canary[0].pages["/"] = page(200, b"a model at home")
    assert await read(http, f"{canary[0].url}/") == b"a model at home"


METADATA = str.split("""
169.254.169.254 169.254.170.2 169.254.170.23 100.100.100.200 168.63.129.16 192.0.0.192 [fd00:ec2::254] [fd00:ec2::23]
[fd20:ce::254] [::ffff:169.254.169.254] [64:ff9b::a9fe:a9fe] [2002:a9fe:a9fe::1] metadata.test mixed.test 0xa9fea9fe
""")


@pytest.mark.parametrize("host", METADATA)
async def test_cloud_metadata_is_never_reached(http: EgressClient, names: Names, host: str) -> None:
    names.known["metadata.test"] = [["169.254.169.254"]]
    names.known["mixed.test"] = [["127.0.0.1", "100.100.100.200"]]
    with pytest.raises(AddressRefused):  # before any attempt to connect, which would end otherwise
        await read(http, f"http://{host}/latest/meta-data/", headers=CREDENTIALS)


async def test_a_redirect_within_the_origin_keeps_method_body_and_key(http: EgressClient, site: Website) -> None:
    site.pages["/v1"] = page(301, Location="/v1/")
    site.pages["/v1/"] = page(200, b"yes")
    async with http.request("POST", f"{site.url}/v1", headers=CREDENTIALS, body=b"{}", profile="channel") as response:
        assert await response.read() == b"yes"
    assert [(asked, headers["authorization"], body) for asked, headers, body in site.asked] == [
        ("POST /v1", f"Bearer {KEY}", b"{}"),
        ("POST /v1/", f"Bearer {KEY}", b"{}"),
    ]


async def test_a_redirect_to_another_origin_is_not_followed(
    http: EgressClient, site: Website, canary: list[Website]
) -> None:
    site.pages["/"] = page(307, Location=f"http://127.0.0.1:{site.port}/steal?{KEY}")
    with pytest.raises(AddressRefused) as refused:
        await read(http, f"{site.url}/", headers=CREDENTIALS)
    assert canary[0].connections == 0
    assert refused.value.retryable
    assert f"127.0.0.1:{site.port}" in str(refused.value)
    assert KEY not in str(refused.value)


async def test_an_answer_is_handed_over_as_it_arrives(http: EgressClient, site: Website) -> None:
    more = asyncio.Event()

    async def in_two(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"first")
        await writer.drain()
        await more.wait()
        writer.write(b"second")

    site.pages["/"] = in_two
    seen = []
    async with http.request("GET", f"{site.url}/", profile="channel") as response:
        async for chunk in response.chunks():
            seen.append(chunk)
            more.set()
    assert seen == [b"first", b"second"]


async def test_a_connection_is_used_again_after_an_answer_was_read(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(200, b"x" * 100_000)
    for _ in range(3):
        await read(http, f"{site.url}/")
    assert site.connections == 1


async def stay_silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("begin", [b"", HEAD, HEAD + b"one"])
async def test_silence_is_a_timeout(http: EgressClient, site: Website, begin: bytes) -> None:
    async def begin_and_stop(writer: asyncio.StreamWriter) -> None:
        writer.write(begin)
        await writer.drain()
        await site.hung_up.wait()

    site.pages["/"] = begin_and_stop
    started = monotonic_s()
    first_byte_s, gap_s = (60.0, 0.2) if begin.endswith(b"one") else (0.2, 60.0)
    with pytest.raises(UpstreamError) as silence:
        await read(http, f"{site.url}/", first_byte_s=first_byte_s, gap_s=gap_s)
    assert (silence.value.kind, silence.value.retryable) == ("timeout", True)
    assert monotonic_s() - started > 0.15
    await asyncio.wait_for(site.hung_up.wait(), 10)


async def test_a_sign_of_life_resets_the_gap(http: EgressClient, site: Website) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        for _ in range(10):
            writer.write(b": still here\n")
            await writer.drain()
            await asyncio.sleep(0.08)

    site.pages["/"] = slowly
    assert (await read(http, f"{site.url}/", gap_s=0.3)).count(b"still here") == 10


async def test_a_slow_reader_is_no_silence_of_the_upstream(http: EgressClient, site: Website) -> None:
    async def at_once(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"a" * 400_000)

    site.pages["/"] = at_once
    total = 0
    async with http.request("GET", f"{site.url}/", profile="channel", gap_s=0.1) as response:
        async for chunk in response.chunks():
            if not total:
                await asyncio.sleep(0.4)
            total += len(chunk)
    assert total == 400_000


async def test_the_whole_has_a_limit_of_its_own(http: EgressClient, site: Website) -> None:
    async def for_ever(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while not site.hung_up.is_set():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    site.pages["/"] = for_ever
    with pytest.raises(UpstreamError) as slow:
        await read(http, f"{site.url}/", total_s=0.3, gap_s=5.0)
    assert slow.value.kind == "timeout"


async def test_leaving_closes_the_connection_at_once(http: EgressClient, site: Website) -> None:
    async def begin(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"one")
        await writer.drain()
        await site.hung_up.wait()

    site.pages["/"] = begin
    async with http.request("GET", f"{site.url}/", profile="channel") as response:
        async for _ in response.chunks():
            break
    await asyncio.wait_for(site.hung_up.wait(), 1)


async def test_cancelling_before_the_answer_closes_the_connection_at_once(http: EgressClient, site: Website) -> None:
    asked = asyncio.Event()

    async def wait(writer: asyncio.StreamWriter) -> None:
        asked.set()
        await site.hung_up.wait()

    site.pages["/"] = wait
    reading = asyncio.create_task(read(http, f"{site.url}/"))
    await asyncio.wait_for(asked.wait(), 2)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.wait_for(site.hung_up.wait(), 1)


async def test_what_arrived_before_a_cut_is_handed_over(http: EgressClient, site: Website) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(b"second")

    site.pages["/"] = cut
    seen = b""
    with pytest.raises(UpstreamError) as broken:
        async with http.request("GET", f"{site.url}/", profile="channel") as response:
            async for chunk in response.chunks():
                if not seen:
                    # a reader that looks away while the rest arrives and the connection breaks
                    await asyncio.sleep(0.2)
                seen += chunk
    assert seen == b"firstsecond"
    assert (broken.value.kind, broken.value.retryable) == ("cut", True)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nBad Header\r\n\r\n"]
)
async def test_an_answer_that_is_none_is_a_connect_error(http: EgressClient, site: Website, answer: bytes) -> None:
    async def write(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    site.pages["/"] = write
    with pytest.raises(UpstreamError) as error:
        await read(http, f"{site.url}/")
    assert (error.value.kind, error.value.retryable) == ("connect", True)


async def test_a_refused_connection_and_an_unknown_name_are_connect_errors(http: EgressClient, names: Names) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    names.known["empty.test"] = [[]]
    for url, sentence in [
        (f"http://127.0.0.1:{port}/", "nothing listens there"),
        ("http://nowhere.test/", "the name is not known"),
        ("http://empty.test/", "the name is not known"),
    ]:
        with pytest.raises(UpstreamError, match=sentence) as error:
            await read(http, url, headers=CREDENTIALS)
        assert (error.value.kind, error.value.retryable) == ("connect", True)


async def test_what_speaks_no_tls_is_a_connect_error(http: EgressClient) -> None:
    async def answer_plainly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer_plainly, "127.0.0.1", 0)
    async with server:
        with pytest.raises(UpstreamError, match="secure connection") as error:
            await read(http, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert (error.value.kind, error.value.retryable) == ("connect", True)


async def test_a_large_body_is_sent_whole(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(200)
    body = b"x" * 3_000_000
    async with http.request("POST", f"{site.url}/", body=body, profile="channel") as response:
        await response.read()
    assert site.asked[0][2] == body


@pytest.mark.parametrize("key", ["sk-1\r\nX-Injected: yes", "sk-1\nX"])
async def test_a_key_with_stray_lines_is_refused_in_a_sentence_without_it(
    http: EgressClient, site: Website, key: str
) -> None:
    with pytest.raises(UpstreamError) as error:
        await read(http, f"{site.url}/", headers={"Authorization": f"Bearer {key}"})
    assert "sk-1" not in str(error.value)
    assert site.asked == []


async def test_user_and_password_of_the_address_yield_to_a_key(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(200)
    address = f"http://person:word@127.0.0.2:{site.port}/"
    await read(http, address)
    await read(http, address, headers=CREDENTIALS)
    assert [headers["authorization"] for _, headers, _ in site.asked] == [
        "Basic cGVyc29uOndvcmQ=",
        f"Bearer {KEY}",
    ]


async def test_a_sentence_names_host_and_port_alone(http: EgressClient, site: Website) -> None:
    await site.stop()
    with pytest.raises(UpstreamError) as error:
        await read(http, f"http://person:{KEY}@127.0.0.2:{site.port}/path?key={KEY}")
    await site.start()
    assert KEY not in str(error.value)
    assert KEY not in repr(error.value)


async def test_many_answers_stream_at_once(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(200, b"x" * 1000)
    answers = await asyncio.gather(*(read(http, f"{site.url}/") for _ in range(300)))
    assert {len(answer) for answer in answers} == {1000}
