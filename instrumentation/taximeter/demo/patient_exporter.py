"""An exporter for the back-fill: big batches, sent while the agent waits, again until taken.

A host must never wait for its telemetry; a generator of history should, so that nothing is lost.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

BATCH_SPANS: Final = 3_000
PATIENCE_S: Final = 60.0
PAUSE_S: Final = 0.5


class PatientExporter(SpanExporter):
    """Keeps spans until there are many, then sends them by OTLP/HTTP; counts what was taken."""

    def __init__(self, collector: str) -> None:
        token = os.environ.get("TAXIMETER_INGEST_TOKEN")
        headers = {"authorization": f"Bearer {token}"} if token else None
        self._wire = OTLPSpanExporter(
            endpoint=f"{collector}/v1/traces", headers=headers, timeout=PATIENCE_S
        )
        self._kept: list[ReadableSpan] = []
        self._lock = threading.Lock()
        self.sent = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep the spans; send all that are kept when there are enough."""
        with self._lock:
            self._kept.extend(spans)
            if len(self._kept) >= BATCH_SPANS:
                self._send()
        return SpanExportResult.SUCCESS

    def send_all(self) -> None:
        """Send what is kept."""
        with self._lock:
            if self._kept:
                self._send()

    def shutdown(self) -> None:
        """Send what is kept."""
        self.send_all()

    def _send(self) -> None:
        batch, self._kept = self._kept, []
        deadline = time.monotonic() + PATIENCE_S
        while self._wire.export(batch) is not SpanExportResult.SUCCESS:
            if time.monotonic() > deadline:
                self.lost += len(batch)
                return
            time.sleep(PAUSE_S)
        self.sent += len(batch)
