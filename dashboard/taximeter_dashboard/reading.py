"""Answers of the collector, kept for a moment: one cache for all sessions of this process."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final, Protocol

import pyarrow as pa

from taximeter.settings.ports import collector_url, served_certificate
from taximeter.settings.settings import Settings, load_settings
from taximeter_collector.client import QueryError, ReadClient, plain_rows
from taximeter_dashboard.asking_once import AskingOnce

Row = dict[str, Any]
Key = tuple[Any, ...]
_KEEP_S: Final = 60.0
_STATUS_KEEP_S: Final = 0.5
_HOLDS: Final = 20
"""So many times as long as a question takes does a version of the data hold: the slower, the longer."""
_LONGEST_HOLD_S: Final = 30.0
_WEIGHT: Final = 0.1
_MAX_ANSWERS: Final = 512
TIMEOUT_S: Final = 15.0


class Client(Protocol):
    """What is needed of a ReadClient."""

    def query(
        self, sql: str, params: Mapping[str, Any] | None = None, *, max_rows: int = ...
    ) -> pa.Table: ...
    def status(self) -> dict[str, Any]: ...


class Reader:
    """Asks the collector; the same question at the same version of the data is asked once, by whomever.

    Where new data comes all the time, a version is held for a while: all sessions then ask of the same
    one, and pages that draw themselves again do not take the collector from those who wait for theirs.
    """

    def __init__(
        self, connect: Callable[[], Client], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect, self._clock = connect, clock
        self._client: Client | None = None
        self._lock = threading.Lock()
        self._answers: OrderedDict[Key, tuple[float, list[Row]]] = OrderedDict()
        self._status: tuple[float, dict[str, Any]] | None = None
        self._held: tuple[float, int] | None = None
        self._question_s = 0.0
        self._rows_once = AskingOnce[Key, list[Row]]()
        self._status_once = AskingOnce[None, dict[str, Any]]()

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Return the rows of a read-only statement. Raises QueryError."""
        return self._rows(sql, params, self.data_version())

    def _rows(self, sql: str, params: Mapping[str, Any] | None, version: int | None) -> list[Row]:
        key = (sql, _frozen(params or {}), version)
        return self._rows_once.answer(key, lambda: self._kept_or_asked(key, sql, params))

    def _kept_or_asked(self, key: Key, sql: str, params: Mapping[str, Any] | None) -> list[Row]:
        with self._lock:
            kept = self._answers.get(key)
            if kept is not None and self._clock() - kept[0] < _KEEP_S:
                self._answers.move_to_end(key)
                return kept[1]
        began = self._clock()
        rows = plain_rows(self._ask(lambda client: client.query(sql, params)))
        if key[-1] is None and not rows:
            return rows  # what is not there yet must be seen as soon as it is
        with self._lock:
            now = self._clock()
            self._question_s += _WEIGHT * (now - began - self._question_s)
            self._answers[key] = (now, rows)
            while len(self._answers) > _MAX_ANSWERS:
                self._answers.popitem(last=False)
        return rows

    def table(self, sql: str, max_rows: int) -> pa.Table:
        """Return the answer of a person's own statement, which is not kept. Raises QueryError."""
        answer: pa.Table = self._ask(lambda client: client.query(sql, max_rows=max_rows))
        return answer

    def status(self) -> dict[str, Any]:
        """Return the collector's status, at most half a second old. Raises QueryError."""
        return self._status_once.answer(None, self._kept_or_asked_status)

    def _kept_or_asked_status(self) -> dict[str, Any]:
        kept = self._status
        if kept is not None and self._clock() - kept[0] < _STATUS_KEEP_S:
            return kept[1]
        status: dict[str, Any] = self._ask(lambda client: client.status())
        self._status = (self._clock(), status)
        return status

    def data_version(self) -> int:
        """Return a number that changes some time after the derived data changed. Raises QueryError."""
        version = int(self.status().get("data_version") or 0)
        with self._lock:
            now, held = self._clock(), self._held
            hold_s = min(_HOLDS * self._question_s, _LONGEST_HOLD_S)
            if held is None or (version != held[1] and now - held[0] >= hold_s):
                held = self._held = (now, version)
            return held[1]

    def _ask(self, question: Callable[[Client], Any]) -> Any:
        client = self._client
        if client is None:
            client = self._client = self._connect()
        try:
            return question(client)
        except QueryError as error:
            if error.type == "unreachable":
                self._client = None  # a restarted collector may listen on another port
            raise


class SettledReader:
    """The same reader for what new data hardly changes: its answers may be a minute old.

    Each new request makes every other answer old, so that a page asks all its questions again.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Return the rows of a read-only statement. Raises QueryError."""
        return self._reader._rows(sql, params, None)


def reader_from(environ: Mapping[str, str] = os.environ) -> Reader:
    """Return a reader of the collector that the settings name, wherever it listens now."""
    settings = load_settings(environ=environ)
    return Reader(lambda: _client_for(settings))


def _client_for(settings: Settings) -> Client:
    return ReadClient(
        collector_url(settings),
        settings.collector.query_token,
        TIMEOUT_S,
        served=served_certificate(settings),
    )


def _frozen(params: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    def frozen(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.isoformat()
        return tuple(value) if isinstance(value, list) else value

    return tuple(sorted((name, frozen(value)) for name, value in params.items()))
