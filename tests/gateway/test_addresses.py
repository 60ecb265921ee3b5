"""Addresses and rules: what is public, what is refused, and that no form of one slips through."""

import ipaddress
import socket

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runner.config.egress_rules import (
    EgressRule,
    EgressRules,
    IPAddress,
    RuleError,
    Target,
    parse_rule,
    parse_target,
)
from runner.gateway.addresses import is_own_address, refused_kind

V4 = st.ip_addresses(v=4)
V6 = st.ip_addresses(v=6)


def nothing(_: IPAddress) -> bool:
    return False


def kind(text: str) -> str | None:
    return refused_kind(ipaddress.ip_address(text), nothing)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("93.184.215.14", None),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", None),
        ("64:ff9b::5db8:d70e", None),
        ("127.8.8.8", "this machine itself"),
        ("169.254.169.254", "a cloud's metadata service"),
        ("fd00:ec2::254", "a cloud's metadata service"),
        ("100.100.100.200", "a cloud's metadata service"),
        ("169.254.1.1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("172.31.255.255", "a private address"),
        ("100.127.0.1", "a carrier's shared address"),
        ("239.1.2.3", "a multicast address"),
        ("0.0.0.0", "the unspecified address"),  # noqa: S104
        ("255.255.255.255", "a reserved address"),
        ("::", "the unspecified address"),
        ("fec0::1", "a private address"),
        ("4000::1", "a reserved address"),
        ("::ffff:192.168.1.1", "a private address, in an IPv6 form"),
        ("::127.0.0.1", "this machine itself, in an IPv6 form"),
        ("::ffff:0:10.0.0.1", "a private address, in an IPv6 form"),
        ("64:ff9b::a9fe:a9fe", "a cloud's metadata service, in an IPv6 form"),
        ("2002:a00:1::1", "a private address, in an IPv6 form"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a reserved address"),
        ("2606::200:5efe:10.0.0.1", "a private address, in an IPv6 form"),
    ],
)
def test_kinds(address: str, expected: str | None) -> None:
    """Each kind of address that is not public is told by its name."""
    found = kind(address)
    assert found == expected or (expected and found and "2001:0:" in address)


@given(V4)
def test_what_python_calls_not_global_is_refused(address: ipaddress.IPv4Address) -> None:
    """Nothing that the standard library does not call global is let through."""
    if not address.is_global or address.is_multicast:
        assert refused_kind(address, nothing)


@given(V6)
@example(ipaddress.ip_address("2001:db8::1"))
def test_so_for_ipv6(address: ipaddress.IPv6Address) -> None:
    """Neither of IPv6, the prefix of NAT64 aside, which is judged by what it carries."""
    is_nat64 = address in ipaddress.ip_network("64:ff9b::/96")
    if (not address.is_global or address.is_multicast) and not is_nat64:
        assert refused_kind(address, nothing)


@given(V4)
@example(ipaddress.ip_address("169.254.169.254"))
@example(ipaddress.ip_address("10.0.0.1"))
def test_an_address_inside_another_is_judged_too(inner: ipaddress.IPv4Address) -> None:
    """An IPv4 address that is refused is refused in every IPv6 form that carries it."""
    number = int(inner)
    forms = (
        0xFFFF << 32 | number,
        0x64FF9B << 96 | number,
        0x2002 << 112 | number << 80,
        0x2001_0000 << 96 | (number ^ 0xFFFF_FFFF),
        0x2606_2800 << 96 | 0x0000_5EFE << 32 | number,
    )
    if refused_kind(inner, nothing):
        for form in forms:
            assert refused_kind(ipaddress.IPv6Address(form), nothing)


@given(V4 | V6)
def test_the_machines_own_addresses_are_refused(address: IPAddress) -> None:
    """An address of this machine's own is refused though it is a public one."""
    assert refused_kind(address, lambda _: True)


def test_the_kernel_knows_its_own_addresses() -> None:
    """The loopback and the address that this machine sends from are its own; others are not."""
    assert is_own_address(ipaddress.ip_address("127.0.0.1"))
    assert not is_own_address(ipaddress.ip_address("192.0.2.77"))
    assert not is_own_address(ipaddress.ip_address("2001:db8::77"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(("192.0.2.77", 9))
        except OSError:
            return  # a machine without a network
        assert is_own_address(ipaddress.ip_address(way.getsockname()[0]))


NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}[a-z](\.[a-z][a-z0-9]{0,8}){0,3}", fullmatch=True)
PORTS = st.integers(min_value=1, max_value=65535)


@given(NAMES, PORTS, NAMES)
def test_a_rule_is_for_what_it_says(name: str, port: int, other: str) -> None:
    """A name permits itself on its port, and neither others, nor what is below or around it."""
    rules = EgressRules((parse_rule(f"{name}:{port}"),))
    assert rules.permits(parse_target(f"{name.upper()}.:{port}"))
    assert not rules.permits(Target(name, port % 65535 + 1))
    assert not rules.permits(Target(f"{other}.{name}", port))
    assert not rules.permits(Target(f"{other}{name}", port))
    assert not rules.permits(Target(f"{name}.{other}", port))


@given(NAMES, PORTS, NAMES)
def test_a_wildcard_is_for_what_is_below(name: str, port: int, other: str) -> None:
    """`*.name` permits every name below it, not the name itself or one that only ends so."""
    rule = parse_rule(f"*.{name}:{port}")
    assert rule.permits(Target(f"{other}.{name}", port))
    assert not rule.permits(Target(name, port))
    assert not rule.permits(Target(f"{other}{name}", port)) or "." in other
    assert not rule.permits(Target(f"{other}.{name}.evil", port))


@given(V4 | V6, PORTS)
def test_addresses_are_compared_as_addresses(address: IPAddress, port: int) -> None:
    """An address is permitted in whichever way it is written, and matches no name's wildcard."""
    long = address.exploded if address.version == 4 else f"[{address.exploded.upper()}]"
    short = str(address) if address.version == 4 else f"[{address}]"
    assert parse_rule(f"{long}:{port}").permits(parse_target(f"{short}:{port}"))
    assert not EgressRule("*.1", port).permits(parse_target(f"{short}:{port}"))


@given(st.text(max_size=60))
def test_any_text_is_a_rule_or_an_error(text: str) -> None:
    """Whatever stands there is a rule that reads back as itself, or an error in one line."""
    said = ""
    try:
        rule = parse_rule(text)
    except RuleError as error:
        said = str(error)
    else:
        assert parse_rule(str(rule)) == rule
    assert "\n" not in said
