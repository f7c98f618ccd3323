"""What of a failed call may pass, and how long to wait before the next attempt. Pure.

HTTP libraries are known by the shape and name of their exceptions; none is imported.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from taximeter.settings.numbers import checked_number

_TRANSIENT_STATUS: Final = frozenset({408, 429})
_TRANSIENT: Final = frozenset(
    {
        ("httpx", "TimeoutException"),
        ("httpx", "NetworkError"),
        ("httpx", "RemoteProtocolError"),
        ("httpx2", "TimeoutException"),
        ("httpx2", "NetworkError"),
        ("httpx2", "RemoteProtocolError"),
        ("requests", "Timeout"),
        ("requests", "ConnectionError"),
        ("requests", "ChunkedEncodingError"),
        ("aiohttp", "ClientConnectionError"),
        ("aiohttp", "ClientPayloadError"),
        ("urllib3", "TimeoutError"),
        ("urllib3", "ProtocolError"),
        ("urllib3", "NewConnectionError"),
        ("http", "IncompleteRead"),
        ("anthropic", "APIConnectionError"),
        ("openai", "APIConnectionError"),
        ("botocore", "HTTPClientError"),
    }
)
"""Time-outs and broken connections that are no TimeoutError or ConnectionError of Python."""
_LASTING: Final = frozenset(
    {
        ("ssl", "SSLCertVerificationError"),
        ("requests", "SSLError"),
        ("aiohttp", "ClientSSLError"),
        ("botocore", "SSLError"),
    }
)
"""A certificate that does not fit will not fit later."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential back-off with full jitter: a random wait from 0 up to a bound that doubles."""

    first_s: float = 0.5
    """The bound before the second attempt, in seconds."""
    max_s: float = 8.0
    """The highest bound, in seconds."""
    max_retry_after_s: float = 60.0
    """A server that asks for a longer wait is not asked again."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            checked_number("Backoff", name, getattr(self, name))

    def wait_s(self, attempt: int, draw: Callable[[float, float], float] = random.uniform) -> float:
        """Return seconds to wait after failed attempt number ``attempt`` (1 = first).

        >>> Backoff(first_s=0.5, max_s=8).wait_s(4, draw=lambda low, high: high)
        4.0
        """
        bound = self.max_s if attempt > 60 else min(self.max_s, self.first_s * 2 ** (attempt - 1))
        return draw(0.0, bound)


DEFAULT_BACKOFF: Final = Backoff()


def wait_before_retry(
    error: BaseException,
    attempt: int,
    backoff: Backoff,
    seconds_left: float | None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> float | None:
    """Return seconds to wait before the next attempt; None where another makes no sense.

    It makes none where the error lasts, or where the wait would outlast the run's deadline.
    """
    if not is_retryable(error):
        return None
    asked = retry_after_s(error, now)
    if asked is not None and asked > backoff.max_retry_after_s:
        return None
    wait = backoff.wait_s(attempt) if asked is None else max(asked, 0.0)
    if seconds_left is not None and wait >= seconds_left:
        return None
    return wait


def is_retryable(error: BaseException) -> bool:
    """Return whether the same call may work later: time-out, broken connection, 408, 429, 5xx.

    >>> is_retryable(ConnectionResetError()), is_retryable(ValueError("no such city"))
    (True, False)
    """
    status = http_status(error)
    if status is not None:
        return status in _TRANSIENT_STATUS or 500 <= status <= 599
    if any(_names(link) & _LASTING for link in _chain(error)):
        return False
    return any(_is_transient(link) for link in _chain(error, reasons_only=True))


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that an exception of any common client carries; None without one."""
    response = getattr(error, "response", None)
    candidates = [
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(response, "status", None),
        getattr(error, "status", None),
        getattr(error, "code", None),
    ]
    if isinstance(response, Mapping):  # botocore
        candidates.append(_mapping(response.get("ResponseMetadata")).get("HTTPStatusCode"))
    for value in candidates:
        if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
            return int(value)
    return None


def retry_after_s(
    error: BaseException, now: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """Return the seconds that the server asks to wait (seconds or HTTP date), None if it does not."""
    headers = _headers(error)
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds
    from email.utils import parsedate_to_datetime

    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - now()).total_seconds())


def _headers(error: BaseException) -> dict[str, str]:
    response = getattr(error, "response", None)
    headers = getattr(response, "headers", None) or getattr(error, "headers", None)
    if isinstance(response, Mapping):
        headers = _mapping(response.get("ResponseMetadata")).get("HTTPHeaders")
    try:
        return {str(name).lower(): str(value) for name, value in headers.items()}  # type: ignore[union-attr]
    except (AttributeError, TypeError, ValueError):
        return {}


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | ConnectionError):
        return True
    names = _names(error)
    if ("socket", "gaierror") in names:
        import socket

        return getattr(error, "errno", None) == socket.EAI_AGAIN
    return bool(names & _TRANSIENT)


def _names(error: BaseException) -> set[tuple[str, str]]:
    """Return the package and name of an exception's classes."""
    return {(kind.__module__.split(".")[0], kind.__name__) for kind in type(error).__mro__}


def _chain(error: BaseException, *, reasons_only: bool = False) -> Iterator[BaseException]:
    """Yield an error and what it wraps: urllib's ``reason``, and its causes."""
    seen: set[int] = set()
    link: Any = error
    while isinstance(link, BaseException) and id(link) not in seen:
        seen.add(id(link))
        yield link
        reason = getattr(link, "reason", None)
        if isinstance(reason, BaseException):
            link = reason
        elif reasons_only:
            return
        else:
            link = link.__cause__ or link.__context__


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
