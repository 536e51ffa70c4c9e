"""Which addresses are of the public internet, and which belong to the machine's cloud."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatserver.gateway import addresses

INWARD = str.split("""
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 100.127.255.254 127.0.0.1 127.1.2.3 127.255.255.254
168.63.129.16 169.254.0.23 169.254.169.254 169.254.170.2 169.254.42.42 172.16.0.1 172.31.255.254 192.0.0.1 192.0.0.192
192.0.2.1 192.88.99.1 192.168.0.1 192.168.255.254 198.18.0.1 198.19.255.254 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.250 240.0.0.1 255.255.255.255
:: ::1 ::7f00:1 ::a9fe:a9fe ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0:7f00:1 64:ff9b::7f00:1
64:ff9b::a00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 64:ff9b:1::808:808 100::1 2001::1 2001:2::1 2001:10::1 2001:db8::1
2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:7f00:1:0:0:f7f7:f7f7 2001:0:808:808:0:0:80ff:fffe 2002:7f00:1::1
2002:a00:1:: 2002:a9fe:a9fe:: 2002:c0a8:101::1 3fff::1 5f00::1 2600:1234::5efe:7f00:1 2600:1234::200:5efe:a00:1
fc00::1 fd00::1 fd00:ec2::254 fd00:ec2::23 fd20:ce::254 fd00:42::42 fe80::1 fe80::a9fe:a9fe fec0::1 ff02::1 ff0e::1
""")
OUTWARD = str.split("""
1.1.1.1 8.8.8.8 93.184.215.14 100.63.255.255 100.128.0.1 172.15.255.255 172.32.0.1 192.167.255.255 223.255.255.254
2606:4700:4700::1111 2a00:1450:4001:810::200e 64:ff9b::808:808 2002:808:808::1 ::ffff:8.8.8.8
""")
METADATA = str.split("""
169.254.169.254 169.254.170.2 169.254.170.23 100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fd20:ce::254
::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1 ::ffff:100.100.100.200
""")


@pytest.mark.parametrize("text", INWARD)
def test_an_inward_address_is_not_foreign(text: str) -> None:
    assert not addresses.is_foreign(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", OUTWARD)
def test_a_public_address_is_foreign(text: str) -> None:
    assert addresses.is_foreign(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", METADATA)
def test_cloud_metadata_is_known_in_every_disguise(text: str) -> None:
    assert addresses.is_metadata(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["127.0.0.1", "10.0.0.1", "192.168.1.5", "fd00::1", "::1", "8.8.8.8"])
def test_other_addresses_may_serve_a_channel(text: str) -> None:
    assert not addresses.is_metadata(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4))
def test_an_embedded_address_is_never_more_foreign_than_itself(address: ipaddress.IPv4Address) -> None:
    number = int(address)
    disguises = [
        ipaddress.IPv6Address((0xFFFF << 32) | number),
        ipaddress.IPv6Address((0x0064_FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | (number << 80) | 1),
        ipaddress.IPv6Address(number),
    ]
    for disguise in disguises:
        assert addresses.is_foreign(address) or not addresses.is_foreign(disguise)
        assert not addresses.is_metadata(address) or addresses.is_metadata(disguise)


@pytest.mark.parametrize("text", ["127.1", "2130706433", "0177.0.0.1", "127.0.0.01", "1.2.3", "1.2.3.4.5", "::zz", "0"])
def test_half_an_address_is_no_address(text: str) -> None:
    with pytest.raises(ValueError):
        addresses.parse_address(text)


@pytest.mark.parametrize("text", ["example.org", "0x7f.1", "localhost", "a.b", "xn--bcher-kva.example"])
def test_a_name_is_no_address(text: str) -> None:
    assert addresses.parse_address(text) is None


@pytest.mark.parametrize(("text", "is_private"), [("10.1.1.1", True), ("::ffff:10.1.1.1", True), ("8.8.8.8", False)])
def test_a_private_address_is_known(text: str, is_private: bool) -> None:
    assert addresses.is_private(ipaddress.ip_address(text)) is is_private
