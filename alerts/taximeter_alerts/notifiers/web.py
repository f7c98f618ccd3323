"""One POST of JSON to an address that people configured: checked, pinned, bounded in time and size.

What a URL resolves to must be a public address, unless alerts.yaml allows its network.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from taximeter_alerts.notifiers.unreached import why_unreached
from taximeter_alerts.outbox.delivery import NotificationError, is_permanent_status

TIMEOUT_S: Final = 5.0
DEADLINE_S: Final = 15.0
MOST_BYTES: Final = 64 * 1024

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, at most 64 KB of it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Mapping[str, Any]:
        """Return the object in the body, an empty one if it is none."""
        try:
            found = json.loads(self.body)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _resolve(host: str, port: int) -> list[str]:
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Web:
    """Sends to public addresses and to the networks that are allowed."""

    def __init__(
        self,
        allowed: Iterable[Network] = (),
        resolve: Callable[[str, int], list[str]] = _resolve,
    ) -> None:
        self._allowed, self._resolve = tuple(allowed), resolve

    def post(self, who: str, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer to a POST, whatever its status but a redirect's.

        `who` names the receiver in errors: the URL may be a secret. Raises NotificationError.
        """
        try:
            parts = httpx.URL(url)
        except httpx.InvalidURL:
            raise NotificationError(f"the address of {who} is no URL", is_permanent=True) from None
        if parts.scheme not in ("http", "https") or not parts.host:
            raise NotificationError(
                f"the address of {who} is not an http address", is_permanent=True
            )
        proxy = _proxy_of(parts)
        target, extensions = parts, dict[str, Any]()
        if proxy is None:
            # Resolved once and sent there: a second look-up could say something else.
            target = parts.copy_with(host=self._address_of(who, parts))
            extensions = {"sni_hostname": parts.host}
        elif _literal(parts.host) is not None:
            self._check(who, parts.host)
        sent = {"Content-Type": "application/json", "Accept-Encoding": "identity", **headers}
        sent["Host"] = parts.netloc.decode()
        try:
            with httpx.Client(
                timeout=TIMEOUT_S, follow_redirects=False, trust_env=False, proxy=proxy
            ) as client:
                return _exchange(client, str(target), body, sent, extensions)
        except httpx.ConnectTimeout:
            raise NotificationError(
                f"{who} was not reached: no connection in {TIMEOUT_S:g} s", is_permanent=False
            ) from None
        except httpx.ConnectError as error:
            # The exception's text may hold the address.
            raise NotificationError(
                f"{who} was not reached: {why_unreached(error)}", is_permanent=False
            ) from None
        except httpx.HTTPError as error:
            raise NotificationError(
                f"{who} did not answer ({type(error).__name__})",
                is_permanent=False,
                is_unknown=True,
            ) from None

    def _address_of(self, who: str, parts: httpx.URL) -> str:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            found = self._resolve(parts.host, port)
        except (OSError, UnicodeError):
            raise NotificationError(
                f"the host of {who} has no address now", is_permanent=False
            ) from None
        for address in found:
            self._check(who, address)
        if not found:
            raise NotificationError(f"the host of {who} has no address now", is_permanent=False)
        return found[0]

    def _check(self, who: str, address: str) -> None:
        ip = ipaddress.ip_address(address.split("%")[0])
        if is_public(ip) or any(ip in network for network in self._allowed):
            return
        raise NotificationError(
            f"{who} is at {ip}, which is no public address: if that is meant, add it to"
            " allow_networks in alerts.yaml",
            is_permanent=True,
        )


def is_public(ip: Address) -> bool:
    """Return whether an address is one of the internet, also when IPv6 wraps an IPv4 one.

    >>> [is_public(ipaddress.ip_address(a)) for a in ("8.8.8.8", "::ffff:127.0.0.1", "10.1.2.3")]
    [True, False, False]
    """
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def refuse_status(who: str, answer: Answer, detail: str = "") -> None:
    """Raise NotificationError for an answer that is no success."""
    if 200 <= answer.status < 300:
        return
    raise NotificationError(
        f"{who} answered {answer.status}{f': {detail}' if detail else ''}",
        is_permanent=is_permanent_status(answer.status),
        retry_after_s=retry_after(answer.headers.get("retry-after"), datetime.now(UTC)),
    )


def retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for: a number or a date."""
    if not header:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        return max(0.0, (parsedate_to_datetime(header) - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _exchange(
    client: httpx.Client,
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    extensions: dict[str, Any],
) -> Answer:
    until = time.monotonic() + DEADLINE_S
    with client.stream(
        "POST", url, content=body, headers=dict(headers), extensions=extensions
    ) as response:
        text = b""
        for piece in response.iter_raw():
            text += piece
            if len(text) >= MOST_BYTES or time.monotonic() > until:
                break
        return Answer(response.status_code, response.headers, text[:MOST_BYTES])


def _proxy_of(parts: httpx.URL) -> str | None:
    """Return the proxy that the environment names for this URL; then it resolves the name."""
    if urllib.request.proxy_bypass(parts.host):
        return None
    return urllib.request.getproxies().get(parts.scheme)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
