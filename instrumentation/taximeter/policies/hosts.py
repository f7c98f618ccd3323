"""An allow-list of hosts, without addresses of the own network."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import urlsplit

from taximeter.policies.allow_list import checked_entries
from taximeter.tools.denied import Denied

Resolve = Callable[[str], Iterable[str]]
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def resolve_host(host: str) -> list[str]:
    """Return the addresses of a host. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return sorted({str(entry[4][0]) for entry in found})


class Hosts:
    """Allows URLs (or bare host names) of listed hosts: ``Hosts("api.example.com", "*.wiki.org")``.

    ``*.wiki.org`` are the hosts below wiki.org, ``*`` all. Every address of the host must be a public
    one unless ``private`` allows others. Not seen: redirects, and another answer of the DNS later;
    `addresses` gives what was checked, to connect to.
    """

    def __init__(
        self,
        *allowed: str,
        schemes: Iterable[str] = ("https",),
        ports: Iterable[int] = (),
        private: bool = False,
        resolve: Resolve = resolve_host,
    ) -> None:
        """``ports``: besides the default one of the scheme."""
        entries = checked_entries("Hosts", allowed, "api.example.com")
        if any("/" in host for host in entries):
            raise ValueError("Hosts: give names of hosts, without a scheme or a path")
        self._allowed = [_ascii(host) for host in entries]
        self._schemes, self._ports = frozenset(schemes), frozenset(ports)
        self._private, self._resolve = private, resolve

    def check(self, value: Any) -> Any:
        """Return the URL. Raises Denied."""
        self.addresses(value)
        return value

    def addresses(self, value: Any) -> list[str]:
        """Return the checked addresses of a URL's host. Raises Denied."""
        host = self._host(value)
        if not any(_fits(host, pattern) for pattern in self._allowed):
            raise Denied(f"The host {host[:100]!r} is not allowed.")
        try:
            addresses = list(self._resolve(host))
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise Denied(f"The host {host[:100]!r} is not allowed: it has no address.")
        if not self._private and not all(map(is_public, addresses)):
            raise Denied(f"The host {host[:100]!r} is not allowed: its address is not public.")
        return addresses

    def _host(self, value: Any) -> str:
        if not isinstance(value, str) or not value:
            raise Denied("A URL must be text, and not empty.")
        # Libraries differ in what they read out of these.
        if any(ord(sign) <= 32 or ord(sign) == 127 or sign == "\\" for sign in value):
            raise Denied(
                "The URL is not allowed: it has spaces, control characters or backslashes."
            )
        try:
            url = urlsplit(value if "://" in value else f"//{value}")
            port = url.port
        except ValueError:
            raise Denied("The URL is not allowed: it can't be read.") from None
        if url.scheme and url.scheme not in self._schemes:
            raise Denied(f"The scheme {url.scheme!r} is not allowed.")
        if "@" in url.netloc:
            raise Denied("The URL is not allowed: it has a user name.")
        if not url.scheme and (url.path or url.query or url.fragment):
            raise Denied("The URL is not allowed: begin it with its scheme, https://.")
        if port is not None and port not in self._ports and port != _PORTS.get(url.scheme):
            raise Denied(f"The port {port} is not allowed.")
        if not url.hostname:
            raise Denied("The URL is not allowed: it has no host.")
        return _ascii(url.hostname)


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet, also of what it embeds.

    >>> is_public("93.184.215.14"), is_public("169.254.169.254"), is_public("::ffff:127.0.0.1")
    (True, False, False)
    """
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def _fits(host: str, pattern: str) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:]) and len(host) > len(pattern) - 1
    return pattern in ("*", host)


def _ascii(host: str) -> str:
    """Return a host as the DNS knows it: lower case, IDNA, without the dot at its end."""
    host = host.rstrip(".").lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise Denied("The URL is not allowed: its host is no valid name.") from None
