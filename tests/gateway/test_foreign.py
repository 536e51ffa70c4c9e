"""The foreign profile: a stranger's URL never leads inward, whatever it is dressed as."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib

import pytest

from chatserver.errors import UpstreamError
from chatserver.gateway.egress import EgressClient
from chatserver.gateway.mishaps import AddressRefused
from chatserver.gateway.response import FOREIGN_LIMIT_BYTES
from chatserver.testing.website import Names, Website, page

HOSTS = str.split("""
127.0.0.1 127.0.0.3 127.1 127.0.1 127.255.255.254 0 0.0.0.0 00.00.00.00 2130706433 017700000001 0x7f000001
0x7f.1 0x7f.0.0.1
0177.0.0.1 0177.1 127.0.0.1. 127.000.000.001 １２７.０.０.１ ①②⑦.⓪.⓪.① 127。0。0。1 localhost localhost. LOCALHOST
ip6-localhost
localtest.test rebound.test mixed.test six.test nat64.test mapped.test
[::] [::1] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [::127.0.0.1] [::ffff:0:127.0.0.1]
[64:ff9b::127.0.0.1]
[64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2002:7f00:1::] [2002:7f00:1::1] [2001:0:7f00:1::1] [fe80::1]
[fe80::1%25lo] [fec0::1]
[fc00::1] [fd12:3456::1] [ff02::1] [100::1] [2001:db8::1] [2600:1234::5efe:7f00:1]
10.0.0.1 10.255.255.255 172.16.0.1 172.31.255.255 192.168.0.1 192.168.1.254 192.0.0.1 192.0.2.1 198.18.0.1
198.51.100.7
203.0.113.7 100.64.0.1 100.127.255.255 224.0.0.1 239.1.1.1 240.0.0.1 255.255.255.255 192.88.99.1
169.254.169.254 169.254.170.2 169.254.1.1 100.100.100.200 168.63.129.16 192.0.0.192 2852039166 0xA9FEA9FE
0251.0376.0251.0376
[fd00:ec2::254] [fd20:ce::254] [::ffff:169.254.169.254] [64:ff9b::169.254.169.254] [2002:a9fe:a9fe::]
metadata.test
""")
WHOLE_URLS = [
    "ftp://public.test/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:70/_x",
    "data:text/plain,hello",
    "javascript:alert(1)",
    "//127.0.0.1/",
    "http:///etc/passwd",
    "http://",
    "http:127.0.0.1",
    "",
    "http://user:password@public.test/",
    "http://public.test@127.0.0.1/",
    "http://127.0.0.1#@public.test/",
    "http://127.0.0.1\\@public.test/",
    "http://127.0.0.1 .public.test/",
    "http://[::1",
    "http://[127.0.0.1]/",
    "http://public.test:22/",
    "http://public.test:6379/",
    "http://public.test:65536/",
    "http://public.test:-80/",
    "http://127.0.0.1:80:80/",
    "http://127.0.0.1\r\nHost: public.test/",
    "unix:///var/run/docker.sock",
]
FAKED_NAMES = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "localtest.test": ["127.0.0.1"],
    "mixed.test": ["93.184.215.14", "127.0.0.1"],
    "rebound.test": ["0.0.0.0"],
    "six.test": ["::1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "metadata.test": ["169.254.169.254"],
}


def test_there_are_enough_targets() -> None:
    assert len(HOSTS) + len(WHOLE_URLS) >= 80


@pytest.fixture
def everywhere(names: Names) -> Names:
    names.known.update({name: [answer] for name, answer in FAKED_NAMES.items()})
    return names


async def fetch(http: EgressClient, url: str, **more: object) -> bytes:
    async with http.request("GET", url, **more) as response:  # type: ignore[arg-type]
        return await response.read()


@pytest.mark.parametrize("host", HOSTS)
async def test_a_url_inward_is_refused_without_a_connection(
    http: EgressClient, site: Website, canary: list[Website], everywhere: Names, host: str
) -> None:
    for url in (f"http://{host}:{site.port}/", f"https://{host}:{site.port}/secret"):
        with pytest.raises(UpstreamError) as refused:
            await fetch(http, url, first_byte_s=2.0)
        assert not refused.value.retryable or refused.value.kind == "connect"
    assert [one.connections for one in canary] == [0] * len(canary)
    assert site.connections == 0


@pytest.mark.parametrize("url", WHOLE_URLS)
async def test_a_url_that_is_none_is_refused_without_a_connection(
    http: EgressClient, site: Website, canary: list[Website], everywhere: Names, url: str
) -> None:
    with pytest.raises(UpstreamError):
        await fetch(http, url, first_byte_s=2.0)
    assert [one.connections for one in canary] == [0] * len(canary)
    assert site.connections == 0


@pytest.mark.parametrize("host", HOSTS)
async def test_a_redirect_inward_is_not_followed(
    http: EgressClient, site: Website, canary: list[Website], everywhere: Names, host: str
) -> None:
    site.pages["/"] = page(
        302, Location=f"http://{host.encode('idna').decode() if host.isascii() else host}:{site.port}/"
    )
    with pytest.raises(UpstreamError):
        await fetch(http, f"http://public.test:{site.port}/", first_byte_s=2.0)
    assert [one.connections for one in canary] == [0] * len(canary)


async def test_a_page_outside_is_fetched(http: EgressClient, site: Website) -> None:
    site.pages["/page"] = page(200, b"hello", Content_Type="text/plain")
    async with http.request("GET", f"http://public.test:{site.port}/page?q=1") as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/plain"
        assert await response.read() == b"hello"
    asked, headers, _ = site.asked[0]
    assert asked == "GET /page?q=1"
    assert headers["host"] == f"public.test:{site.port}"


async def test_a_name_that_rebinds_is_refused_the_second_time(
    http: EgressClient, site: Website, canary: list[Website], names: Names
) -> None:
    names.known["rebinding.test"] = [["127.0.0.2"], ["127.0.0.1"]]
    site.pages["/"] = page(200, b"first")
    assert await fetch(http, f"http://rebinding.test:{site.port}/") == b"first"
    with pytest.raises(AddressRefused):
        await fetch(http, f"http://rebinding.test:{site.port}/")
    assert canary[0].connections == 0


async def test_the_connection_goes_to_what_was_checked_and_the_name_is_asked_once(
    http: EgressClient, site: Website, canary: list[Website], names: Names
) -> None:
    names.known["rebinding.test"] = [["127.0.0.2"], ["127.0.0.1"]]
    site.pages["/"] = page(200, b"checked")
    assert await fetch(http, f"http://rebinding.test:{site.port}/") == b"checked"
    assert names.calls == ["rebinding.test"]
    assert canary[0].connections == 0


async def test_a_redirect_to_a_name_that_rebinds_is_refused(
    http: EgressClient, site: Website, canary: list[Website], names: Names
) -> None:
    names.known["rebinding.test"] = [["127.0.0.2"], ["127.0.0.1"]]
    site.pages["/"] = page(302, Location="/again")
    with pytest.raises(AddressRefused):
        await fetch(http, f"http://rebinding.test:{site.port}/")
    assert [asked for asked, _, _ in site.asked] == ["GET /"]
    assert canary[0].connections == 0


async def test_three_redirects_are_followed_and_a_fourth_is_not(http: EgressClient, site: Website) -> None:
    for number in range(4):
        site.pages[f"/{number}"] = page(302, Location=f"/{number + 1}")
    site.pages["/4"] = page(200, b"there")
    assert await fetch(http, f"http://public.test:{site.port}/1") == b"there"
    with pytest.raises(AddressRefused, match="more than 3 redirects"):
        await fetch(http, f"http://public.test:{site.port}/0")


async def test_a_redirect_to_another_origin_loses_what_was_meant_for_the_first(
    http: EgressClient, site: Website, names: Names
) -> None:
    names.known["other.test"] = [["127.0.0.2"]]
    site.pages["/"] = page(302, Location=f"http://other.test:{site.port}/there")
    site.pages["/there"] = page(200)
    headers = {"Authorization": "Bearer sk-canary", "Cookie": "a=b", "X-Api-Key": "sk-canary", "Accept": "text/html"}
    await fetch(http, f"http://public.test:{site.port}/", headers=headers)
    _, second, _ = site.asked[1]
    assert second["accept"] == "text/html"
    assert "sk-canary" not in str(second)
    assert "cookie" not in second


async def test_what_was_sent_is_not_sent_on_to_another_origin(http: EgressClient, site: Website, names: Names) -> None:
    names.known["other.test"] = [["127.0.0.2"]]
    site.pages["/"] = page(307, Location=f"http://other.test:{site.port}/there")
    with pytest.raises(AddressRefused):
        async with http.request("POST", f"http://public.test:{site.port}/", body=b"a secret"):
            pass
    assert len(site.asked) == 1


async def test_a_post_answered_with_see_other_becomes_a_get(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(303, Location="/done")
    site.pages["/done"] = page(200, b"done")
    async with http.request("POST", f"http://public.test:{site.port}/", body=b"x") as response:
        assert await response.read() == b"done"
    assert [(asked, body) for asked, _, body in site.asked] == [("POST /", b"x"), ("GET /done", b"")]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "two members"])
async def test_a_compressed_page_is_decoded(http: EgressClient, site: Website, encoding: str) -> None:
    text = b"all work and no play " * 10_000
    raw = zlib.compressobj(wbits=-15)
    packed = {
        "gzip": gzip.compress(text),
        "deflate": zlib.compress(text),
        "raw deflate": raw.compress(text) + raw.flush(),
        "two members": gzip.compress(text[:1000]) + gzip.compress(text[1000:]),
    }[encoding]
    site.pages["/"] = page(200, packed, Content_Encoding="deflate" if "deflate" in encoding else "gzip")
    assert await fetch(http, f"http://public.test:{site.port}/") == text


@pytest.mark.parametrize("layers", [1, 2])
async def test_a_decompression_bomb_is_noticed_before_it_has_gone_off(
    http: EgressClient, site: Website, layers: int
) -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    site.pages["/"] = page(200, bomb if layers == 1 else gzip.compress(bomb, 9), Content_Encoding="gzip")
    tracemalloc.start()
    try:
        if layers == 1:
            with pytest.raises(UpstreamError, match="more than 20 MB"):
                await fetch(http, f"http://public.test:{site.port}/")
        else:
            assert len(await fetch(http, f"http://public.test:{site.port}/")) < 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 3 * FOREIGN_LIMIT_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("body", [b"not gzip at all", gzip.compress(b"x" * 1000, mtime=0)[:-20] + b"\xff" * 20])
async def test_a_body_that_cannot_be_decoded_is_an_error_of_the_upstream(
    http: EgressClient, site: Website, body: bytes
) -> None:
    site.pages["/"] = page(200, body, Content_Encoding="gzip")
    with pytest.raises(UpstreamError, match="cannot be decoded"):
        await fetch(http, f"http://public.test:{site.port}/")


async def test_an_encoding_nobody_asked_for_is_refused(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(200, b"\x00", Content_Encoding="br")
    with pytest.raises(UpstreamError, match="nobody asked for"):
        await fetch(http, f"http://public.test:{site.port}/")
    assert site.asked[0][1]["accept-encoding"] == "gzip, deflate"


async def test_a_page_larger_than_allowed_is_not_read_to_its_end(http: EgressClient, site: Website) -> None:
    async def pour(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not site.hung_up.is_set():
            writer.write(bytes(65_536))
            await writer.drain()

    site.pages["/"] = pour
    with pytest.raises(UpstreamError, match="more than 20 MB"):
        await fetch(http, f"http://public.test:{site.port}/")
    await asyncio.wait_for(site.hung_up.wait(), 2)


async def test_the_whole_may_not_take_longer_than_allowed_however_it_drips(http: EgressClient, site: Website) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not site.hung_up.is_set():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.01)

    site.pages["/"] = drip
    with pytest.raises(UpstreamError) as slow:
        await fetch(http, f"http://public.test:{site.port}/", total_s=0.3)
    assert slow.value.kind == "timeout"


async def test_a_caller_cannot_lift_the_limit_of_the_whole(http: EgressClient) -> None:
    assert http.request("GET", "http://public.test/", total_s=900.0)._total_s == 30.0


async def test_cookies_are_neither_kept_nor_sent(http: EgressClient, site: Website) -> None:
    site.pages["/"] = page(200, b"", Set_Cookie="a=b")
    await fetch(http, f"http://public.test:{site.port}/")
    await fetch(http, f"http://public.test:{site.port}/")
    assert "cookie" not in site.asked[1][1]


async def test_a_proxy_of_the_environment_is_not_used(
    http: EgressClient, site: Website, canary: list[Website], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{site.port}")
    site.pages["/"] = page(200, b"straight")
    assert await fetch(http, f"http://public.test:{site.port}/") == b"straight"
    assert canary[0].connections == 0


async def test_there_is_no_third_profile(http: EgressClient) -> None:
    with pytest.raises(ValueError, match="profile"):
        http.request("GET", "http://public.test/", profile="trusted")
