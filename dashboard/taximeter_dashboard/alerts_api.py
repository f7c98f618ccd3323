"""The alerts service over HTTP: rules, firing alerts and incidents. When it is down, that is said."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from taximeter.ports import live_port, part_url, served_certificate
from taximeter.settings import Settings
from taximeter.tls import reader_context

Row = dict[str, Any]
_TIMEOUT_S: Final = 1.5
_KEEP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said; `is_reachable` false means that nobody answered."""

    rows: list[Row]
    is_reachable: bool


class AlertsApi:
    """Asks the alerts service; an answer is kept for two seconds, also the missing one."""

    def __init__(
        self, url: Callable[[], str], token: str | None = None, served: Path | None = None
    ) -> None:
        self._url, self._token = url, token
        self._tls = None if served is None else reader_context(served)
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._lock = threading.Lock()

    def rules(self) -> Answer:
        return self._get("rules")

    def alerts(self) -> Answer:
        return self._get("alerts")

    def incidents(self) -> Answer:
        return self._get("incidents")

    def _get(self, what: str) -> Answer:
        with self._lock:
            kept = self._kept.get(what)
            if kept is not None and time.monotonic() - kept[0] < _KEEP_S:
                return kept[1]
        answer = _fetched(f"{self._url()}/api/{what}", what, self._token, self._tls)
        with self._lock:
            self._kept[what] = (time.monotonic(), answer)
        return answer


def alerts_api_for(settings: Settings) -> AlertsApi:
    """Return the service that the settings name, wherever it listens now."""

    def url() -> str:
        port = live_port(settings.store.data_dir, "alerts", "http_port") or live_port(
            settings.store.data_dir, "alerts", "port"
        )
        return part_url(settings, settings.alerts.host, port or settings.alerts.port)

    token = settings.collector.query_token
    return AlertsApi(
        url, token.reveal() if token is not None else None, served_certificate(settings)
    )


def _fetched(url: str, what: str, token: str | None, tls: ssl.SSLContext | None) -> Answer:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=tls) as response:
            document = json.load(response)
    except (OSError, http.client.HTTPException, ValueError):
        return Answer([], is_reachable=False)
    rows = document.get(what, []) if isinstance(document, Mapping) else document
    if not isinstance(rows, list):
        return Answer([], is_reachable=True)
    return Answer([row for row in rows if isinstance(row, dict)], is_reachable=True)
