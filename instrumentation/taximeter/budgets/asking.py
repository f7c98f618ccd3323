"""Asks the collector which budgets stop calls: one small GET, where and as whom the spans are sent."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from taximeter.budgets.stops import MOST_BYTES
from taximeter.export.otlp_http import spans_url

if TYPE_CHECKING:
    import requests

TIMEOUT_S: Final = 3.0
"""To connect, and between two pieces of the answer."""
_SPANS: Final = "/v1/traces"
_BUDGETS: Final = "/v1/budgets"
_PIECE_BYTES: Final = 65_536


class Unanswered(Exception):
    """There is no answer to go by; ``kind`` is a word for why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    body: bytes | None
    """None: as before."""
    etag: str | None
    age_s: float | None
    """How long ago what it says was true; None where the collector knows nothing yet."""


def budgets_url(endpoint: str | None, elsewhere: str | None = None) -> str:
    """Return the address: ``elsewhere``'s, else beside that of the spans. Raises ValueError."""
    if elsewhere is not None:
        return elsewhere.rstrip("/") + _BUDGETS
    spans = spans_url(endpoint) or _url_of_opentelemetry()
    if not spans.endswith(_SPANS):
        raise ValueError(
            f"budgets can't be asked beside {spans}: say TAXIMETER_BUDGETS=http://… with the"
            " address of the collector"
        )
    return spans.removesuffix(_SPANS) + _BUDGETS


def _url_of_opentelemetry() -> str:
    of_spans = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return of_spans or os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"].rstrip("/") + _SPANS


class Asker:
    """Asks with one kept-alive connection; of one thread."""

    def __init__(self, url: str, *, is_elsewhere: bool = False) -> None:
        """``is_elsewhere``: the headers of OpenTelemetry's settings are not for this server."""
        import requests

        self._url = url
        self._session = requests.Session()
        self._session.headers.update(_headers(is_elsewhere=is_elsewhere))
        self._authorities = _setting("CERTIFICATE")
        certificate, key = _setting("CLIENT_CERTIFICATE"), _setting("CLIENT_KEY")
        self._session.cert = (certificate, key) if certificate and key else certificate

    def ask(self, etag: str | None) -> Reply:
        """Return the answer; without a body where it is still that of ``etag``. Raises Unanswered."""
        from requests import RequestException

        try:
            return self._ask({"If-None-Match": etag} if etag else {})
        except (RequestException, OSError) as error:
            why = type(error).__name__ if isinstance(error, RequestException) else str(error)
            raise Unanswered("unreachable", f"no answer from {self._url} ({why[:200]})") from None

    def _ask(self, headers: dict[str, str]) -> Reply:
        with self._session.get(
            self._url,
            headers=headers,
            timeout=TIMEOUT_S,
            stream=True,
            allow_redirects=False,
            verify=self._authorities,  # of the session it would give way to REQUESTS_CA_BUNDLE
        ) as answer:
            if answer.status_code in (401, 403):
                raise Unanswered(
                    "refused",
                    f"{self._url} refuses the token ({answer.status_code}): set TAXIMETER_INGEST_TOKEN",
                )
            if answer.status_code not in (200, 304):
                raise Unanswered(
                    "no_budgets",
                    f"{self._url} answers {answer.status_code}: say TAXIMETER_BUDGETS=http://… with"
                    " the address of taximeter's collector",
                )
            body = None if answer.status_code == 304 else _body(answer)
            return Reply(body, answer.headers.get("ETag"), _age_s(answer.headers.get("Age")))


def _headers(*, is_elsewhere: bool) -> dict[str, str]:
    from opentelemetry.util.re import parse_env_headers

    said = "" if is_elsewhere else _setting("HEADERS") or ""
    headers = {**parse_env_headers(said, liberal=True), "accept": "application/json"}
    headers["accept-encoding"] = "identity"
    if token := os.environ.get("TAXIMETER_INGEST_TOKEN"):
        headers["authorization"] = f"Bearer {token}"
    return headers


def _setting(name: str) -> str | None:
    """Return a setting of OpenTelemetry's exporter: that for traces, else that for all."""
    found = os.environ.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}")
    return found or os.environ.get(f"OTEL_EXPORTER_OTLP_{name}") or None


def _body(answer: requests.Response) -> bytes:
    if answer.headers.get("Content-Encoding"):
        raise Unanswered("unreadable", "the answer is compressed, which was not asked for")
    parts: list[bytes] = []
    size = 0
    for part in answer.iter_content(_PIECE_BYTES):
        size += len(part)
        if size > MOST_BYTES:
            raise Unanswered("unreadable", f"the answer has more than {MOST_BYTES >> 20} MiB")
        parts.append(part)
    return b"".join(parts)


def _age_s(said: str | None) -> float | None:
    if said is None:
        return None
    if not (said.isascii() and said.isdigit() and len(said) <= 9):
        raise Unanswered("unreadable", "the header Age is no number of seconds")
    return float(said)
