"""Which hosts and ports may be reached: one rule an entry, read strictly. Runs on: host.

An entry is `HOST:PORT`. The host is a name, an IP address (IPv6 in brackets), `*.example.net` for
every name below one, or `*` for all. Names are matched as they are asked for; what their addresses
may be is another check (`runner.gateway.addresses`).
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import NamedTuple

from runner.contract.text import one_line

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_NAME = 253
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
# What the C library would read as an IPv4 address: 127.1, 0x7f.0.0.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Names that nobody can register (RFC 6761, 6762, 8375, ICANN's .internal): who answers for them
# is whoever runs the host's own network.
_PRIVATE_ENDINGS = ("localhost", "internal", "local", "lan", "home.arpa", "test")


class RuleError(ValueError):
    """A text is no host, no port, or no rule; the message says what is allowed."""


class Target(NamedTuple):
    """What a client wants to reach."""

    host: str
    """In lower case; an IP address in its shortest form, without brackets."""
    port: int

    @property
    def address(self) -> IPAddress | None:
        """The host, where it is an IP address and no name."""
        return _address(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class EgressRule(NamedTuple):
    """One entry of `runner.network.allow`."""

    host: str
    """As in Target; or `*`, or `*.` and a name."""
    port: int

    def permits(self, target: Target) -> bool:
        """Tell whether the target may be asked for."""
        if target.port != self.port:
            return False
        if self.host == "*":
            return True
        if self.host.startswith("*."):
            return target.address is None and target.host.endswith(self.host[1:])
        return target.host == self.host

    def __str__(self) -> str:
        return str(Target(self.host, self.port))


class EgressRules(NamedTuple):
    """What one agent may reach; without a rule it is nothing."""

    rules: tuple[EgressRule, ...] = ()

    def permits(self, target: Target) -> bool:
        """Tell whether the target may be asked for."""
        return any(rule.permits(target) for rule in self.rules)

    def trusts(self, target: Target, address: IPAddress) -> bool:
        """Tell whether `address` was meant, though it is not a public one.

        It was where it is listed itself; and where the target's name is listed, letter by letter,
        and is one of the host's own network, for which nobody else can give out addresses.
        """
        listed = EgressRule(str(address), target.port) in self.rules
        return listed or (
            is_private_name(target.host) and EgressRule(target.host, target.port) in self.rules
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.rules)) or "nothing"


def parse_rule(text: str) -> EgressRule:
    """Return the rule of an entry. Raises RuleError."""
    host, port = _split(text)
    if host == "*":
        return EgressRule(host, port)
    if host.startswith("*."):
        return EgressRule(f"*.{_name(host[2:])}", port)
    return EgressRule(parse_host(host), port)


def parse_rules(texts: Iterable[str]) -> EgressRules:
    """Return the rules of entries, each once. Raises RuleError."""
    return EgressRules(tuple(dict.fromkeys(map(parse_rule, texts))))


def parse_target(text: str) -> Target:
    """Return what `HOST:PORT` names. Raises RuleError."""
    host, port = _split(text)
    return Target(parse_host(host), port)


def parse_host(text: str) -> str:
    """Return a name or an IP address as rules and targets hold it. Raises RuleError."""
    if text.startswith("[") and text.endswith("]"):
        address = _address(text[1:-1])
        if address is None or address.version == 4 or "%" in text:
            raise RuleError(f"{_shown(text)} is no IPv6 address")
        return str(address)
    if ":" in text:
        raise RuleError(f"{_shown(text)} is no host (allowed: IPv6 addresses in brackets)")
    address = _address(text)
    return str(address) if address is not None else _name(text)


def is_private_name(host: str) -> bool:
    """Tell whether a name means something in the host's own network only."""
    return "." not in host or any(host.endswith(f".{ending}") for ending in _PRIVATE_ENDINGS)


def _split(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or text.endswith("]"):
        raise RuleError(f"{_shown(text)} names no port (allowed: HOST:PORT, as in example.org:443)")
    is_number = port.isascii() and port.isdigit() and len(port) <= 5 and not port.startswith("0")
    if not is_number or not 1 <= int(port) <= 65535:
        raise RuleError(f"{_shown(port)} is no port (allowed: 1 to 65535)")
    return host, int(port)


def _name(text: str) -> str:
    name = text.lower().removesuffix(".") if text.isascii() else ""
    labels = name.split(".")
    if len(name) > MAX_NAME or not all(_LABEL.fullmatch(label) for label in labels):
        allowed = "letters, digits, - and dots; other scripts as xn--…"
        raise RuleError(f"{_shown(text)} is no host name (allowed: {allowed})")
    if _NUMBER.fullmatch(labels[-1]):
        raise RuleError(f"{_shown(text)} is no IP address (allowed: four numbers, as in 192.0.2.1)")
    return name


def _address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _shown(text: str) -> str:
    return f"'{one_line(text, 60)}'"
