"""What is wrong with an address of a configuration. Runs on: host."""

import ipaddress
from urllib.parse import SplitResult, urlsplit


def address_mistake(url: str) -> str:
    """Return what is wrong with an address; the address is not repeated: it may hold a secret."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return "has characters in it that no address has"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is no address"
    mistakes = (
        (parts.scheme not in {"http", "https"}, "must begin with http:// or https://"),
        (not parts.hostname, "names no host"),
        ("@" in parts.netloc, "has credentials in it (allowed: none)"),
        ("?" in url or "#" in url, "has a query or a fragment (allowed: none)"),
    )
    return next((what for is_so, what in mistakes if is_so), "")


def is_near(url: SplitResult) -> bool:
    """Tell whether an address is this machine, or one of a private network, by its look."""
    host = url.hostname or ""
    if host == "localhost" or host.endswith(".localhost") or "." not in host:
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private
