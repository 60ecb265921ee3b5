"""What a client of the egress proxy asks for, read strictly. Runs on: host.

`CONNECT host:port` asks for a tunnel; `GET http://host/path` and its like ask for one exchange.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

import h11

from runner.config.egress_rules import EgressRules, RuleError, Target, parse_host, parse_target
from runner.contract.text import one_line
from runner.gateway.egress_meter import Outcome

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,15})://([^/?#]*)([/?][^#]*)?")
_MAX_LISTED = 1000
_HTTP_PORT = 80
# RFC 9110, 7.6.1: between two neighbours only; and what older clients and servers put there.
_HOP_BY_HOP = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"trailer")
) | {b"proxy-authorization", b"proxy-authentication-info", b"upgrade", b"transfer-encoding"}

Header = tuple[bytes, bytes]


class DeniedError(Exception):
    """A request that the proxy answers itself; the message is for the agent."""

    def __init__(self, status: int, message: str, outcome: Outcome = "refused") -> None:
        super().__init__(message)
        self.status = status
        self.outcome = outcome


class Ask(NamedTuple):
    """A request that may be carried out, if its target may be reached."""

    target: Target
    onward: h11.Request | None
    """What the target's server is sent; None for a tunnel."""


def read_ask(request: h11.Request) -> Ask:
    """Return what a request asks for. Raises DeniedError for one that is not clear."""
    method = request.method.decode()
    text = request.target.decode("ascii", "replace")
    try:
        if method == "CONNECT":
            return Ask(_tunnel_target(request, text), None)
        return _exchange(request, method, text)
    except RuleError as error:
        raise DeniedError(400, str(error)) from error


def check_allowed(target: Target, rules: EgressRules) -> None:
    """Raise DeniedError for a target that no rule permits."""
    if not rules.permits(target):
        allowed = one_line(str(rules), _MAX_LISTED)
        raise DeniedError(
            403,
            f"{target} is not in runner.network.allow of this run's configuration; "
            f"allowed: {allowed}",
        )


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """Return the headers that are not for the neighbour only, framing left out where chunked."""
    pairs = [(bytes(name), bytes(value)) for name, value in headers]
    named = {
        token.strip().lower()
        for name, value in pairs
        if name == b"connection"
        for token in value.split(b",")
    }
    dropped = _HOP_BY_HOP | (named - {b"content-length", b"host"})
    if any(name == b"transfer-encoding" for name, _ in pairs):
        dropped |= {b"content-length"}
    return [(name, value) for name, value in pairs if name not in dropped]


def _tunnel_target(request: h11.Request, text: str) -> Target:
    target = parse_target(text)
    if any(name in {b"content-length", b"transfer-encoding"} for name, _ in request.headers):
        raise DeniedError(400, "CONNECT takes no body")
    _check_host(request, target)
    return target


def _exchange(request: h11.Request, method: str, text: str) -> Ask:
    url = _URL.fullmatch(text)
    if url is None:
        what = "this is a proxy: ask for a whole address, as in GET http://host/path"
        raise DeniedError(400, f"{what}, or for CONNECT host:443")
    scheme, authority, rest = url[1].lower(), url[2], url[3] or "/"
    if scheme != "http":
        raise DeniedError(400, f"{scheme}:// is not forwarded: use CONNECT, as https clients do")
    if "@" in authority:
        raise DeniedError(400, "an address with a user name in it is not forwarded")
    target = _authority(authority)
    _check_host(request, target)
    path = rest if rest.startswith("/") else f"/{rest}"
    host = str(target).removesuffix(f":{_HTTP_PORT}") if target.port == _HTTP_PORT else str(target)
    kept = [
        header for header in end_to_end(request.headers) if header[0] not in {b"host", b"expect"}
    ]
    framing = [(b"Transfer-Encoding", b"chunked")] if _is_chunked(request) else []
    headers = [(b"Host", host.encode()), *kept, *framing, (b"Connection", b"close")]
    return Ask(target, h11.Request(method=method, target=path, headers=headers))


def _is_chunked(request: h11.Request) -> bool:
    names = [name for name, _ in request.headers]
    is_chunked = b"transfer-encoding" in names
    if is_chunked and b"content-length" in names:
        raise DeniedError(400, "a request has a length or chunks, not both")
    return is_chunked


def _authority(text: str) -> Target:
    has_port = ":" in text.rpartition("]")[2]
    return parse_target(text) if has_port else Target(parse_host(text), _HTTP_PORT)


def _check_host(request: h11.Request, target: Target) -> None:
    """Two names for one request could be read in two ways; HTTP/1.0 clients may send none."""
    for name, value in request.headers:
        if name == b"host":
            text = value.decode("ascii", "replace").strip()
            has_port = ":" in text.rpartition("]")[2]
            is_same = parse_target(text) == target if has_port else parse_host(text) == target.host
            if not is_same:
                raise DeniedError(400, "the Host header names another host than the request")
