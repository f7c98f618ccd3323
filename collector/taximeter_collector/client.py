"""Read from a running collector: SQL in, a pyarrow Table out; and tell it what stops agents.

Dashboard and alerts use it; the collector alone opens the database.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import pyarrow as pa

from taximeter.settings.secret import Secret
from taximeter.settings.tls import reader_context

_ARROW: Final = "application/vnd.apache.arrow.stream"
_JSON: Final = "application/json"
_MAX_IDLE: Final = 8
# The server stops the statement first, so that its own answer arrives.
_MARGIN_S: Final = 5.0


class QueryError(Exception):
    """The collector refused or failed a query; `type` is the machine's word for why.

    `type` is `unreachable` when no collector answered, else the `error.type` of its answer.
    """

    def __init__(
        self,
        type: str,
        message: str,
        status: int | None = None,
        position: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(message)
        self.type = type
        self.message = message
        self.status = status
        self.position = position
        """Line and column of the statement, from 1, where the collector tells them."""


class ReadClient:
    """A thread-safe client of the read API, with kept-alive connections."""

    def __init__(
        self,
        url: str,
        token: str | Secret | None = None,
        timeout_s: float = 30,
        *,
        served: Path | None = None,
    ) -> None:
        """Open no connection yet. ``served``: a local collector's certificate (`reader_context`).

        Raises ValueError for what is no http address, SettingsError for wrong TLS files.
        """
        parts = urlsplit(url if "//" in url else f"//{url}", scheme="http")
        if parts.hostname is None or parts.scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is not an http address such as http://127.0.0.1:4318")
        self.url = url
        self._tls = reader_context(served) if parts.scheme == "https" else None
        self._host, self._port = parts.hostname, parts.port
        self._prefix = parts.path.rstrip("/")
        self._token = (Secret(token) if token else None) if isinstance(token, str) else token
        self._timeout_s = timeout_s
        self._idle: list[http.client.HTTPConnection] = []
        self._lock = threading.Lock()

    def query(
        self,
        sql: str,
        params: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        max_rows: int = 1_000_000,
    ) -> pa.Table:
        """Return the rows of one read-only statement; `$name` or `?` are bound from `params`.

        Raises QueryError.
        """
        request = {
            "sql": sql,
            "params": _encodable(params or {}),
            "timeout_ms": int(self._timeout_s * 1000),
            "max_rows": max_rows,
        }
        body = json.dumps(request).encode()
        _, answer = self._ask("POST", "/v1/query", body, {"Content-Type": _JSON, "Accept": _ARROW})
        with pa.ipc.open_stream(answer) as reader:
            return reader.read_all()

    def status(self) -> dict[str, Any]:
        """Return GET /v1/status: counters, lag, versions. Raises QueryError."""
        _, answer = self._ask("GET", "/v1/status", None, {"Accept": _JSON})
        status: dict[str, Any] = json.loads(answer)
        return status

    def publish_budgets(self, budgets: Mapping[str, Any]) -> None:
        """PUT /v1/budgets: let agents be stopped by them. Raises QueryError."""
        body = json.dumps(budgets, ensure_ascii=False).encode()
        self._ask("PUT", "/v1/budgets", body, {"Content-Type": _JSON, "Accept": _JSON})

    def close(self) -> None:
        """Close the idle connections; the client stays usable."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        if self._token is not None:
            # Asked anew each time: a token file may have changed.
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            status, answer = self._exchange(method, self._prefix + path, body, headers)
        except TimeoutError as error:
            raise QueryError(
                "timeout", f"The collector at {self.url} gave no answer in {self._timeout_s:g} s."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise QueryError(
                "unreachable", f"No collector answers at {self.url}: start it with `taximeter up`."
            ) from error
        if status != 200:
            raise _refusal(status, answer)
        return status, answer

    def _exchange(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        connection = self._take_idle()
        if connection is not None:
            # The server may have closed an idle connection; a read can safely be asked again.
            with contextlib.suppress(http.client.HTTPException, ConnectionError):
                return self._roundtrip(connection, method, path, body, headers)
            connection.close()
        return self._roundtrip(self._connect(), method, path, body, headers)

    def _roundtrip(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
    ) -> tuple[int, bytes]:
        with _closed_on_error(connection):
            connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            answer = response.read()
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        return response.status, answer

    def _connect(self) -> http.client.HTTPConnection:
        patience = self._timeout_s + _MARGIN_S
        if self._tls is not None:
            return http.client.HTTPSConnection(
                self._host, self._port, timeout=patience, context=self._tls
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=patience)

    def _take_idle(self) -> http.client.HTTPConnection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _give_back(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if len(self._idle) < _MAX_IDLE:
                self._idle.append(connection)
                return
        connection.close()


@contextlib.contextmanager
def _closed_on_error(connection: http.client.HTTPConnection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows of Python values; DuckDB's HUGEINT arrives as a decimal and leaves as an int."""
    wide = [field.name for field in table.schema if pa.types.is_decimal(field.type)]
    rows: list[dict[str, Any]] = table.to_pylist()
    for name in wide:
        for row in rows:
            row[name] = None if row[name] is None else int(row[name])
    return rows


def _refusal(status: int, answer: bytes) -> QueryError:
    try:
        error = json.loads(answer)["error"]
        place = error.get("position")
        position = (int(place["line"]), int(place["column"])) if place else None
        return QueryError(str(error["type"]), str(error["message"]), status, position)
    except (ValueError, KeyError, TypeError, AttributeError):
        return QueryError("http", f"The collector answered {status}.", status)


def _encodable(value: Any) -> Any:
    """Return `value` as JSON can carry it; times and exact numbers keep their type by a tag."""
    if isinstance(value, Mapping):
        return {str(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return {"$timestamp": value.isoformat()}
    if isinstance(value, date):
        return {"$date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_encodable(item) for item in value]
    return value
