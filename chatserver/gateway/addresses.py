"""Which addresses may be reached: pure judgement of one IP address, with every embedded IPv4 unwrapped."""

from __future__ import annotations

import ipaddress

IPv4 = ipaddress.IPv4Address
IPv6 = ipaddress.IPv6Address
Address = IPv4 | IPv6

METADATA_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.169.0/24",  # the instance metadata of most clouds, and their time and name services
        "169.254.170.0/24",  # task and pod credentials
        "169.254.0.23/32",
        "169.254.42.42/32",
        "100.100.100.200/32",
        "168.63.129.16/32",  # is_global is True for this one
        "192.0.0.192/32",
        "fd00:ec2::/32",
        "fd20:ce::254/128",
        "fd00:42::42/128",
        "fd00:a9fe:a9fe::/48",
    )
)
"""Where clouds answer with the machine's own credentials; nobody but the machine's agent has business there."""

# What is_global of Python 3.11 lets pass, or lets pass in some of its patch releases.
_DENIED_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",
        "2001:db8::/32",
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_LOW_32 = 0xFFFF_FFFF


def parse_address(text: str) -> Address | None:
    """The address a host is, written in full and without a zone; None for a name.

    Raises ValueError for what is no name but no canonical address either (`127.1`, `2130706433`): the operating
    system would read it as an address that nobody checked.
    """
    bare = text.strip("[]").partition("%")[0]
    if ":" not in bare and not bare.replace(".", "").isdigit():
        return None
    return ipaddress.ip_address(bare)


def embedded_addresses(address: Address) -> tuple[IPv4, ...]:
    """The IPv4 addresses an IPv6 address stands for: mapped, translated, NAT64, compatible, 6to4, Teredo, ISATAP."""
    if isinstance(address, IPv4):
        return ()
    number = int(address)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64 or address in _TRANSLATED:
        return (IPv4(number & _LOW_32),)
    if address in _COMPATIBLE and number > 1:
        return (IPv4(number & _LOW_32),)
    found: list[IPv4] = []
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if (number >> 32) & 0xFCFF_FFFF == 0x5EFE:  # ISATAP, with either value of the universal bit
        found.append(IPv4(number & _LOW_32))
    return tuple(found)


def is_metadata(address: Address) -> bool:
    """Does a cloud answer here with the machine's own credentials, also through an embedded address?"""
    return any(
        one.version == network.version and one in network
        for one in (address, *embedded_addresses(address))
        for network in METADATA_NETWORKS
    )


def is_foreign(address: Address) -> bool:
    """Is this an address of the public internet, that any stranger's URL may name?"""
    if is_metadata(address):
        return False
    inner = embedded_addresses(address)
    if isinstance(address, IPv6):
        if inner:
            wraps_whole = address.ipv4_mapped is not None or address in _NAT64 or address.sixtofour is not None
            return wraps_whole and all(is_foreign(one) for one in inner)
        if address not in _GLOBAL_UNICAST:
            return False
    if not address.is_global or address.is_multicast or address.is_reserved or address.is_unspecified:
        return False
    return not any(address.version == network.version and address in network for network in _DENIED_NETWORKS)


def is_private(address: Address) -> bool:
    """Is this an address of one's own house (loopback, a home or company network), where models may load slowly?"""
    return any(one.is_private or one.is_link_local for one in (address, *embedded_addresses(address)))
