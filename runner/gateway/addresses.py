"""Which IP addresses a container must not reach, whatever name led there. Runs on: host.

An address is refused unless it is known to be a public one: a new kind is refused until it stands
here. Forms that carry an IPv4 address inside are judged by what they carry.
"""

import ipaddress
import socket
from collections.abc import Callable, Iterator

from runner.config.egress_rules import IPAddress

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# RFC 6890 and its registries; in the order in which they are looked at.
_NOT_PUBLIC = (
    ("the unspecified address", "0.0.0.0/8 ::/128"),
    ("this machine itself", "127.0.0.0/8 ::1/128"),
    ("a cloud's metadata service", "169.254.169.254/32 169.254.170.0/24 fd00:ec2::/32"),
    ("a cloud's metadata service", "100.100.100.200/32 168.63.129.16/32 fd20:ce::254/128"),
    ("a link-local address", "169.254.0.0/16 fe80::/10"),
    ("a private address", "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10"),
    ("a carrier's shared address", "100.64.0.0/10"),
    ("a multicast address", "224.0.0.0/4 ff00::/8"),
    ("a reserved address", "192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 198.18.0.0/15"),
    ("a reserved address", "198.51.100.0/24 203.0.113.0/24 240.0.0.0/4"),
    ("a reserved address", "64:ff9b:1::/48 2001::/23 2001:db8::/32 3fff::/20"),
)
_TABLE: tuple[tuple[_Network, str], ...] = tuple(
    (ipaddress.ip_network(text), kind) for kind, texts in _NOT_PUBLIC for text in texts.split()
)
_PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_TRANSLATED = ipaddress.IPv6Network("::ffff:0:0:0/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_NOT_LOCAL = "192.0.2.1"  # RFC 5737: no machine has it


def refused_kind(address: IPAddress, is_own: Callable[[IPAddress], bool]) -> str | None:
    """Return what an address is that must not be reached, None for a public one.

    `is_own` tells whether an address is one of this machine's.
    """
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        return "a link-local address"
    inner = [kind for each in embedded(address) if (kind := refused_kind(each, is_own))]
    if inner:
        return f"{inner[0]}, in an IPv6 form"
    for network, kind in _TABLE:
        if address.version == network.version and address in network:
            return kind
    if address.version == 6 and address not in _PUBLIC_IPV6 and address not in _NAT64:
        return "a reserved address"
    return "this machine itself" if is_own(address) else None


def embedded(address: IPAddress) -> Iterator[ipaddress.IPv4Address]:
    """Yield the IPv4 addresses that an IPv6 address carries."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    is_carrier = any(address in network for network in (_MAPPED, _TRANSLATED, _NAT64))
    if is_carrier or (address in _COMPATIBLE and number > 1):
        yield ipaddress.IPv4Address(number & 0xFFFF_FFFF)
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if number >> 32 & 0xFCFF_FFFF == 0x0000_5EFE:  # ISATAP (RFC 5214)
        yield ipaddress.IPv4Address(number & 0xFFFF_FFFF)


def is_own_address(address: IPAddress) -> bool:
    """Tell whether an address is one of this machine's, by asking its kernel; nothing is sent."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    if not _can_bind(socket.AF_INET, _NOT_LOCAL):
        return _can_bind(family, str(address))
    # The kernel binds to addresses of others (net.ipv4.ip_nonlocal_bind): ask for the way there.
    with socket.socket(family, socket.SOCK_DGRAM) as way:
        try:
            way.connect((str(address), 9))
        except OSError:
            return False
        return str(way.getsockname()[0]) == str(address)


def _can_bind(family: int, address: str) -> bool:
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
