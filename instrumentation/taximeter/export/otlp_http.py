"""Batches of spans in, OTLP over HTTP out: OpenTelemetry's exporter, asked what became of each batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from taximeter.export.queue import Sent

if TYPE_CHECKING:
    import requests

DEFAULT_ENDPOINT: Final = "http://127.0.0.1:4318"
_MAY_PASS: Final = (None, 408, 429, 502, 503, 504)
"""Statuses after which OTLP lets a client try again; None = no answer."""
_OWN_SESSION: Final = (
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER",
    "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER",
)


class OtlpHttp:
    """Sends to our endpoint, or where OpenTelemetry's own settings say."""

    def __init__(self, endpoint: str | None, timeout_s: float | None = None) -> None:
        """``timeout_s`` bounds each `send`, its repetitions included; by default OpenTelemetry's 10."""
        self._endpoint, self._timeout_s = endpoint, timeout_s
        self.is_unanswered = False
        self._status: int | None = None
        self._was_asked = False
        self._is_watched = not any(os.environ.get(name) for name in _OWN_SESSION)
        self._exporter = self._new_exporter()

    def send(self, spans: Sequence[ReadableSpan]) -> Sent:
        """Send a batch; what is refused for good is told apart from what may pass."""
        self._status, self._was_asked = None, False
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            redirected = self._status is not None and self._status >= 300
            return Sent.REFUSED if redirected else Sent.TAKEN
        if not self._is_watched:
            return Sent.REFUSED
        if not self._was_asked:
            return Sent.UNREADABLE
        return Sent.LATER if self._status in _MAY_PASS else Sent.REFUSED

    def anew(self, timeout_s: float | None = None) -> OtlpHttp:
        """Return the same with connections of its own."""
        return OtlpHttp(self._endpoint, timeout_s)

    def shutdown(self) -> None:
        """Give up what is under way."""
        self._exporter.shutdown()

    def _new_exporter(self) -> SpanExporter:
        import requests
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        session = None
        if self._is_watched:
            session = requests.Session()
            session.send = self._noting(session.send)  # type: ignore[method-assign]
        headers = {}
        if token := os.environ.get("TAXIMETER_INGEST_TOKEN"):
            headers["authorization"] = f"Bearer {token}"
        return OTLPSpanExporter(
            endpoint=spans_url(self._endpoint),
            headers=headers or None,
            session=session,
            timeout=self._timeout_s,
        )

    def _noting(self, send: Callable[..., requests.Response]) -> Callable[..., requests.Response]:
        from requests import ConnectionError

        def noting(request: requests.PreparedRequest, **settings: Any) -> requests.Response:
            self._was_asked, self._status, self.is_unanswered = True, None, True
            try:
                response = send(request, **settings)
            except ConnectionError:
                self.is_unanswered = False
                raise
            self._status, self.is_unanswered = response.status_code, False
            return response

        return noting


def spans_url(endpoint: str | None) -> str | None:
    """Return the address of the spans; None where OpenTelemetry's own settings have one."""
    base = endpoint or os.environ.get("TAXIMETER_ENDPOINT")
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if base is None and any(os.environ.get(name) for name in names):
        return None
    return f"{(base or DEFAULT_ENDPOINT).rstrip('/')}/v1/traces"
