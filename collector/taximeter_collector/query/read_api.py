"""POST /v1/query: a JSON request in, rows as an Arrow stream or JSON out.

Whatever goes wrong is a `QueryFault` with the HTTP status of the contract.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, Protocol

import duckdb
import pyarrow as pa

from taximeter_collector.query.query_gate import Forbidden, Malformed, check_statement
from taximeter_collector.query.query_watch import WATCH, RunningQuery, nothing

Format = Literal["arrow", "json"]

DEFAULT_TIMEOUT_MS: Final = 30_000
MAX_TIMEOUT_MS: Final = 300_000
DEFAULT_MAX_ROWS: Final = 1_000_000
MAX_ANSWER_BYTES: Final = 128 * 1024 * 1024
_BATCH_ROWS: Final = 8_192
_MARK: Final = "\n\nLINE "


class Readable(Protocol):
    """The part of the store that a query needs."""

    def read(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """Lend a cursor inside a read-only transaction."""


class QueryFault(Exception):
    """A query that gets no rows: the HTTP status, a word for machines, a sentence for people."""

    def __init__(
        self, status: int, type: str, message: str, position: tuple[int, int] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.type, self.message, self.position = status, type, message, position

    def body(self) -> bytes:
        error: dict[str, Any] = {"type": self.type, "message": self.message}
        if self.position:
            error["position"] = {"line": self.position[0], "column": self.position[1]}
        return json.dumps({"error": error}).encode()


@dataclass(frozen=True, slots=True)
class QueryRequest:
    sql: str
    params: dict[str, Any] | list[Any]
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    max_rows: int = DEFAULT_MAX_ROWS


def parse_query(body: bytes) -> QueryRequest:
    """Return the request in a body. Raises QueryFault 400."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise QueryFault(400, "request", "The body is not JSON.") from None
    if not isinstance(document, dict) or not isinstance(document.get("sql"), str):
        raise QueryFault(400, "request", 'The body must be like {"sql": "select 1"}.')
    params = document.get("params") or {}
    if not isinstance(params, (dict, list)):
        raise QueryFault(400, "request", '"params" must be an object or a list.')
    return QueryRequest(
        document["sql"],
        _decoded(params),
        _whole(document, "timeout_ms", DEFAULT_TIMEOUT_MS, MAX_TIMEOUT_MS),
        _whole(document, "max_rows", DEFAULT_MAX_ROWS, None),
    )


def run_query(
    store: Readable,
    request: QueryRequest,
    format: Format,
    gone: threading.Event | None = None,
    *,
    deadline: float | None = None,
    others: Callable[[], int] = nothing,
) -> bytes:
    """Return the answer's body; stop when ``gone`` is set. Raises QueryFault.

    ``deadline`` is the time of the monotonic clock at which the request's ``timeout_ms`` is over, by
    default that long from now; ``others`` tells the bytes that are not the queries' (`QueryWatch`).
    """
    if deadline is None:
        deadline = time.monotonic() + request.timeout_ms / 1000
    started = time.perf_counter()
    with store.read() as cursor:
        _gate(cursor, request.sql)
        watched = WATCH.watching(cursor, deadline, gone or threading.Event(), others)
        limits = _limits(watched, request.timeout_ms)
        with limits, _sql_faults(cursor, request.sql):
            relation = cursor.sql(request.sql, params=request.params or None)
            schema, batches = _fetch(relation, request.max_rows)
            if format == "arrow":
                return _as_arrow(schema, batches)
            types = [str(type) for type in relation.types]
            elapsed_ms = (time.perf_counter() - started) * 1000
            return _as_json(schema, types, batches, elapsed_ms)


def _fetch(
    relation: duckdb.DuckDBPyRelation, max_rows: int
) -> tuple[pa.Schema, list[pa.RecordBatch]]:
    reader = relation.to_arrow_reader(_BATCH_ROWS)
    try:
        return reader.schema, list(_bounded(reader, max_rows))
    finally:
        # An unfinished result would keep the cursor busy, and its transaction open.
        reader.close()


def _gate(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        check_statement(cursor, sql)
    except Forbidden as error:
        raise QueryFault(403, "forbidden", str(error)) from None
    except Malformed as error:
        position = None if error.offset is None else _line_column(sql, error.offset)
        raise QueryFault(400, "syntax", str(error), position) from None


@contextmanager
def _limits(watched: AbstractContextManager[RunningQuery], timeout_ms: int) -> Iterator[None]:
    with watched as query:
        try:
            yield
        except QueryFault:
            match query.stopped:
                case "timeout":
                    text = f"The query took longer than {timeout_ms} ms and was stopped."
                    raise QueryFault(504, "timeout", text) from None
                case "memory":
                    raise _too_much_memory() from None
                case "gone":
                    raise QueryFault(499, "gone", "The client went away.") from None
                case "stopping":
                    raise stopping() from None
            raise


@contextmanager
def _sql_faults(cursor: duckdb.DuckDBPyConnection, sql: str) -> Iterator[None]:
    try:
        yield
    except QueryFault:
        raise
    except duckdb.OutOfMemoryException:
        raise _too_much_memory() from None
    # While rows stream, pyarrow wraps DuckDB's errors as its own or as OSError.
    except (duckdb.Error, pa.ArrowException, OSError, OverflowError) as error:
        text = str(error)
        placed = None if _MARK in text else _bind_again(cursor, sql)
        raise _fault_of(placed or text, lines_before=1 if placed else 0) from None


def _bind_again(cursor: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    """Return the binder's message with its position, which DuckDB's relations leave out."""
    try:
        cursor.execute(f"explain\n{sql}").fetchall()
    except duckdb.Error as error:
        return str(error) if _MARK in str(error) else None
    return None


def _fault_of(text: str, lines_before: int = 0) -> QueryFault:
    """Return the fault of a DuckDB message such as `Binder Error: … LINE 1: … ^`."""
    head, _, tail = text.partition(_MARK)
    kind = re.match(r"(\w[\w ]*?) Error: ", head)
    if kind and kind[1] == "Out of Memory":
        return _too_much_memory()
    position = None
    if marked := re.match(r"(\d+): (.*)\n(\s*)\^", tail):
        column = len(marked[3]) - len(f"LINE {marked[1]}: ") + 1
        # DuckDB shortens long lines, and then the column counts from nowhere.
        shortened = marked[2].startswith("...")
        position = (int(marked[1]) - lines_before, 1 if shortened else max(column, 1))
    return QueryFault(400, kind[1].lower() if kind else "sql", head.strip(), position)


def stopping() -> QueryFault:
    """Return what a query hears whose collector ends."""
    return QueryFault(503, "stopping", "The collector is being stopped: ask again later.")


def _too_much_memory() -> QueryFault:
    return QueryFault(
        413, "memory", "The query needs more memory than it may use: read fewer rows or columns."
    )


def _bounded(reader: pa.RecordBatchReader, max_rows: int) -> Iterator[pa.RecordBatch]:
    rows = size = 0
    for batch in reader:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if rows > max_rows:
            raise QueryFault(
                413, "too_many_rows", f"The answer has more than {max_rows} rows: add a LIMIT."
            )
        if size > MAX_ANSWER_BYTES:
            raise QueryFault(413, "too_large", "The answer is too large: ask for fewer columns.")
        yield batch


def _as_arrow(schema: pa.Schema, batches: list[pa.RecordBatch]) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _as_json(
    schema: pa.Schema, types: list[str], batches: list[pa.RecordBatch], elapsed_ms: float
) -> bytes:
    rows: list[list[Any]] = []
    for batch in batches:
        plain = [_plain_column(column) for column in batch.columns]
        rows.extend(list(row) for row in zip(*plain, strict=True))
    columns = [{"name": name, "type": type} for name, type in zip(schema.names, types, strict=True)]
    answer = {
        "columns": columns,
        "rows": rows,
        "row_count": len(rows),
        "elapsed_ms": round(elapsed_ms, 3),
    }
    return json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")


def _plain_column(column: pa.Array) -> list[Any]:
    if pa.types.is_timestamp(column.type):
        # Not through datetime, which ends with the year 9999. UTC has more than one name.
        zone = "UTC" if column.type.tz else None
        texts = column.cast(pa.timestamp(column.type.unit, zone)).cast(pa.string())
        return [text and text.replace(" ", "T", 1) for text in texts.to_pylist()]
    values = column.to_pylist(maps_as_pydicts="lossy")
    return [_plain(value) for value in values]


def _plain(value: Any) -> Any:
    """Return `value` as JSON has it: exact integers stay, NaN and infinities become null."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (datetime, date)):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)


def _decoded(value: Any) -> Any:
    """Undo the tags with which the client keeps the types that JSON lacks."""
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        (tag, text), *_ = value.items()
        if tag in _TAGS:
            try:
                return _TAGS[tag](text)
            except (TypeError, ValueError, ArithmeticError):
                raise QueryFault(400, "request", f"{text!r} is not a value for {tag}.") from None
    return {key: _decoded(item) for key, item in value.items()}


_TAGS: Final[dict[str, Callable[[str], Any]]] = {
    "$timestamp": datetime.fromisoformat,
    "$date": date.fromisoformat,
    "$decimal": Decimal,
}


def _whole(document: dict[str, Any], key: str, default: int, most: int | None) -> int:
    value = document.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise QueryFault(400, "request", f'"{key}" must be a whole number above zero.')
    return value if most is None else min(value, most)


def _line_column(sql: str, offset: int) -> tuple[int, int]:
    """Return the 1-based line and column of a byte offset.

    >>> _line_column("select\\n  x", 9)
    (2, 3)
    """
    before = sql.encode("utf-8", "replace")[:offset].decode("utf-8", "ignore")
    return before.count("\n") + 1, len(before) - before.rfind("\n")
