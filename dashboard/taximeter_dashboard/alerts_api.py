"""The alerts service over HTTP: rules, alerts, incidents, annotations. When it is down, that is said."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from taximeter.settings.ports import live_port, part_url, served_certificate
from taximeter.settings.settings import Settings
from taximeter.settings.tls import reader_context
from taximeter_dashboard.alerting import moment_in
from taximeter_dashboard.asking_once import AskingOnce

Row = dict[str, Any]
_TIMEOUT_S: Final = 1.5
_KEEP_S: Final = 2.0
_LONG_S: Final = 25.0
"""For a test notice, when the channel itself is asked meanwhile, and for long texts of rules."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said; `is_reachable` false means that nobody answered."""

    rows: list[Row]
    is_reachable: bool
    evaluated_to: datetime | None = None
    """Up to when the rules are judged, where the answer says it."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a change: the service's answer, or the sentence that says why not."""

    answer: Row
    error: str | None = None


class AlertsApi:
    """Asks the alerts service; an answer is kept for two seconds, also the missing one."""

    def __init__(
        self, url: Callable[[], str], token: str | None = None, served: Path | None = None
    ) -> None:
        self._url, self._token = url, token
        self._tls = None if served is None else reader_context(served)
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._lock = threading.Lock()
        self._once = AskingOnce[str, Answer]()

    def rules(self) -> Answer:
        return self._get("rules")

    def alerts(self) -> Answer:
        return self._get("alerts")

    def incidents(self) -> Answer:
        return self._get("incidents")

    def silences(self) -> Answer:
        return self._get("silences")

    def deliveries(self) -> Answer:
        return self._get("deliveries")

    def budgets(self) -> Answer:
        return self._get("budgets")

    def backtest(self) -> Row:
        """Return the newest backtest, an empty row without one."""
        return next(iter(self._get("backtest").rows), {})

    def start_backtest(self, days: int, text: str | None = None) -> Done:
        """Start one of the rules in use, or of those in a text."""
        rules = {} if text is None else {"text": text}
        return self._write("backtest", {"days": days, **rules}, timeout_s=_LONG_S)

    def rules_file(self) -> Row:
        """Return the text of alerts.yaml and what is known of it, an empty row if nobody tells."""
        return next(iter(self._get("rules/file", key="file").rows), {})

    def check_rules(self, text: str) -> Done:
        return self._write("rules/check", {"text": text}, timeout_s=_LONG_S)

    def save_rules(self, text: str, digest: str, author: str) -> Done:
        """Put a text in place of the one with this digest."""
        body = {"text": text, "digest": digest, "author": author}
        return self._write("rules/file", body, method="PUT", timeout_s=_LONG_S)

    def receivers(self) -> Answer:
        return self._get("receivers")

    def add_silence(
        self, matchers: Mapping[str, str], duration: str, author: str, comment: str
    ) -> Done:
        body = {"matchers": matchers, "duration": duration, "author": author, "comment": comment}
        return self._write("silences", body)

    def end_silence(self, id: str) -> Done:
        return self._write(f"silences/{quote(id, safe='')}", method="DELETE")

    def annotations(self, start: datetime, end: datetime) -> Answer:
        """Return those that touch this time.

        They stand beside incidents: a service that has just not told those is not waited for twice.
        """
        if not self.incidents().is_reachable:
            return Answer([], is_reachable=False)
        window = urlencode({"start": start.isoformat(), "end": end.isoformat()})
        return self._get("annotations", f"?{window}")

    def add_annotation(self, text: str, **more: str | None) -> Done:
        """Add one; ``more`` are its other fields, as the service names them."""
        return self._write("annotations", {"text": text, **more})

    def delete_annotation(self, id: str) -> Done:
        return self._write(f"annotations/{quote(id, safe='')}", method="DELETE")

    def acknowledge(self, incident: str, author: str) -> Done:
        return self._write(f"incidents/{quote(incident, safe='')}/ack", {"author": author})

    def snooze(self, incident: str, duration: str, author: str) -> Done:
        body = {"duration": duration, "author": author}
        return self._write(f"incidents/{quote(incident, safe='')}/snooze", body)

    def send_test(self, receiver: str) -> Done:
        return self._write(f"receivers/{quote(receiver, safe='')}/test", timeout_s=_LONG_S)

    def retry(self, delivery: str) -> Done:
        return self._write(f"deliveries/{quote(delivery, safe='')}/retry")

    def _write(
        self, path: str, body: Row | None = None, *, method: str = "POST",
        timeout_s: float = _TIMEOUT_S,
    ) -> Done:  # fmt: skip
        request = _request(f"{self._url()}/api/{path}", self._token, method, body or {})
        done = _done(request, self._tls, timeout_s)
        with self._lock:
            # What was read before the change is old now, and so is what is being read.
            self._kept.clear()
            self._once = AskingOnce()
        return done

    def _get(self, what: str, window: str = "", key: str = "") -> Answer:
        """Return the rows that stand under ``key`` (the path) in the answer."""
        path = f"{what}{window}"
        return self._once.answer(path, lambda: self._kept_or_asked(path, key or what))

    def _kept_or_asked(self, path: str, key: str) -> Answer:
        now = time.monotonic()
        with self._lock:
            # Windows move on: what is old must go, or it would gather.
            self._kept = {k: v for k, v in self._kept.items() if now - v[0] < _KEEP_S}
            if path in self._kept:
                return self._kept[path][1]
        answer = _fetched(f"{self._url()}/api/{path}", key, self._token, self._tls)
        with self._lock:
            self._kept[path] = (time.monotonic(), answer)
        return answer


class ReadOnlyAlertsApi(AlertsApi):
    """The alerts service for those who may look: every change is refused here, whatever the page draws."""

    def _write(
        self, path: str, body: Row | None = None, *, method: str = "POST",
        timeout_s: float = _TIMEOUT_S,
    ) -> Done:  # fmt: skip
        return Done({}, "You may look, and not change: sign in as an editor.")


def alerts_api_for(settings: Settings, *, may_change: bool = True) -> AlertsApi:
    """Return the service that the settings name, wherever it listens now."""

    def url() -> str:
        port = live_port(settings.store.data_dir, "alerts", "http_port") or live_port(
            settings.store.data_dir, "alerts", "port"
        )
        return part_url(settings, settings.alerts.host, port or settings.alerts.port)

    token = settings.collector.query_token
    return (AlertsApi if may_change else ReadOnlyAlertsApi)(
        url, token.reveal() if token is not None else None, served_certificate(settings)
    )


def _fetched(url: str, what: str, token: str | None, tls: ssl.SSLContext | None) -> Answer:
    request = _request(url, token)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=tls) as response:
            document = json.load(response)
    except (OSError, http.client.HTTPException, ValueError):
        return Answer([], is_reachable=False)
    rows = document.get(what, []) if isinstance(document, Mapping) else document
    if isinstance(rows, Mapping):
        rows = [rows]
    if not isinstance(rows, list):
        return Answer([], is_reachable=True)
    judged = moment_in(document, "evaluated_to", "as_of") if isinstance(document, Mapping) else None
    return Answer([row for row in rows if isinstance(row, dict)], True, judged)


def _request(
    url: str, token: str | None, method: str = "GET", body: Row | None = None
) -> urllib.request.Request:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None
    if body is not None and method != "DELETE":
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    return urllib.request.Request(url, data=data, headers=headers, method=method)


def _done(request: urllib.request.Request, tls: ssl.SSLContext | None, timeout_s: float) -> Done:
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=tls) as response:
            return Done(json.load(response))
    except urllib.error.HTTPError as error:
        try:
            return Done({}, str(json.load(error)["error"]["message"]))
        except (ValueError, KeyError, TypeError):
            return Done({}, f"The alerts service answered {error.code}.")
    except (OSError, http.client.HTTPException, ValueError):
        return Done({}, "The alerts service does not answer.")
