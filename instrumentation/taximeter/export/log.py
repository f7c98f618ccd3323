"""A collector that is down must not fill the host's log: our exporter speaks once a minute.

Only what is logged inside our own export is held back; the application's exporters keep their voice.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

EVERY_S: Final = 60.0
_LOGGER: Final = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
_is_ours: Final[ContextVar[bool]] = ContextVar("taximeter_exports", default=False)


class OncePerMinute(logging.Filter):
    """Lets one record a minute of our exports pass, and every record of others."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at = -EVERY_S

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        if not _is_ours.get():
            return True
        now = time.monotonic()
        if now - self._passed_at < EVERY_S:
            return False
        self._passed_at = now
        return True


_filter: Final = OncePerMinute()


@contextmanager
def quiet_export() -> Iterator[None]:
    """Hold the exporter's log back while our batch is on its way."""
    logging.getLogger(_LOGGER).addFilter(_filter)  # adding it again changes nothing
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)
