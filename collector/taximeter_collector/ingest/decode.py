"""OTLP request bytes in, flat Arrow tables out. Pure; no Python per span.

`parse` checks one request and keeps it nested; `flatten_*` turn a group of them into rows.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from taximeter_collector.ingest.anyvalue import array_text, kvlist_text
from taximeter_collector.ingest.otlp_schema import HANDLERS, descriptor
from taximeter_collector.ingest.utf8_repair import repair_utf8

if TYPE_CHECKING:
    from taximeter_collector.ingest.redaction import Redactor

Signal = Literal["traces", "logs", "metrics"]
SIGNALS: Final[tuple[Signal, ...]] = ("traces", "logs", "metrics")
_LEVELS: Final[dict[Signal, tuple[str, str, str, str]]] = {
    "traces": ("Traces", "resource_spans", "scope_spans", "spans"),
    "logs": ("Logs", "resource_logs", "scope_logs", "log_records"),
    "metrics": ("Metrics", "resource_metrics", "scope_metrics", "metrics"),
}

METRIC_DATA: Final = {
    "gauge": "Gauge",
    "sum": "Sum",
    "histogram": "Histogram",
    "exponential_histogram": "ExponentialHistogram",
    "summary": "Summary",
}
"""The fields that hold a metric's data as sent, and the message in each."""


class Undecodable(ValueError):
    """The body is not the protobuf message that its path promises; sending it again won't help."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A group of requests as flat tables; ``row`` numbers the items from 0 over the group."""

    items: pa.Table
    """``row, request, resource, scope_name, scope_version`` and the item's own fields."""
    attributes: pa.Table
    """``row, key, value``: the items' attributes, values as text."""
    resource_attributes: pa.Table
    """``resource, key, value``."""
    redactor: Redactor | None = None
    """Whose rules the rows keep: with it, they have ``stored_`` columns beside what was sent."""
    is_cut: bool = False
    """Whether a limit (`item_limits.py`) was passed: then too."""


def parse(signal: Signal, body: bytes) -> pa.RecordBatch:
    """Return one request as a one-row batch. Raises Undecodable."""
    try:
        batch = read_messages(_LEVELS[signal][0], [body])
        if signal == "metrics":
            point_times(batch)
    except ValueError as error:
        raise Undecodable(str(error)) from None
    return batch


def read_messages(message: str, bodies: Sequence[bytes]) -> pa.RecordBatch:
    """Return messages of one type as rows; what is no UTF-8 in them is replaced. Raises ValueError."""
    handler = HANDLERS.get_for_message(descriptor(message))
    try:
        return handler.list_to_record_batch(list(bodies))
    except ValueError as error:
        if "UTF-8" not in str(error):
            raise
    return handler.list_to_record_batch([repair_utf8(descriptor(message), body) for body in bodies])


def point_times(batch: pa.RecordBatch) -> pa.ChunkedArray:
    """Return the time of every data point of metrics, in Unix nanoseconds. Raises ValueError."""
    metrics = pc.list_flatten(_items("metrics", batch))
    times = []
    for field, message in METRIC_DATA.items():
        data = pc.struct_field(metrics, field).drop_null().to_pylist()
        points = pc.list_flatten(read_messages(message, data).column("data_points"))
        times.append(pc.struct_field(points, "time"))
    return pa.chunked_array(times)


def count_items(signal: Signal, batch: pa.RecordBatch) -> int:
    """Return how many spans, log records or data points ``batch`` holds."""
    if signal == "metrics":
        return len(point_times(batch))
    return pc.sum(pc.list_value_length(_items(signal, batch))).as_py() or 0


def _items(signal: Signal, batch: pa.RecordBatch) -> pa.ListArray:
    _, resources, scopes, items = _LEVELS[signal]
    flat = pc.list_flatten(batch.column(resources))
    return pc.struct_field(pc.list_flatten(pc.struct_field(flat, scopes)), items)


def flatten(signal: Signal, batches: Sequence[pa.RecordBatch]) -> Rows:
    """Return the rows of a group; ``request`` is the index into ``batches``."""
    _, resources_name, scopes_name, items_name = _LEVELS[signal]
    whole = pa.Table.from_batches(batches).column(resources_name).combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0)
    request_of_resource, resources = _unnest(whole)
    resource_of_scope, scopes = _unnest(pc.struct_field(resources, scopes_name))
    scope_of_item, items = _unnest(pc.struct_field(scopes, items_name))
    resource = resource_of_scope.take(scope_of_item)
    scope = pc.struct_field(scopes, "scope")
    columns: dict[str, Any] = {
        "row": _range(len(items)),
        "request": request_of_resource.take(resource),
        "resource": resource,
        "scope_name": pc.struct_field(scope, "name").take(scope_of_item),
        "scope_version": pc.struct_field(scope, "version").take(scope_of_item),
    }
    columns |= _FIELDS[signal](items)
    return Rows(
        pa.table(columns),
        _item_attributes(signal, items),
        attribute_table(
            "resource", pc.struct_field(pc.struct_field(resources, "resource"), "attributes")
        ),
    )


def _unnest(lists: pa.ListArray) -> tuple[pa.Array, pa.StructArray]:
    return pc.list_parent_indices(lists), pc.list_flatten(lists)


def _range(length: int) -> pa.Array:
    return pc.subtract(pc.cumulative_sum(pa.repeat(pa.scalar(1, pa.int64()), length)), 1)


def attribute_table(owner: str, lists: pa.ListArray) -> pa.Table:
    """Return lists of KeyValue as rows ``<owner>, key, value``; the owner is the list's index."""
    parent, pairs = _unnest(lists)
    return pa.table(
        {
            owner: parent,
            "key": pc.struct_field(pairs, "key"),
            "value": any_text(pc.struct_field(pairs, "value")),
        }
    )


def any_text(values: pa.StructArray) -> pa.Array:
    """Return AnyValues as text: strings as they are, numbers in decimal, lists and maps as JSON."""
    text = [
        pc.struct_field(values, "string_value"),
        pc.cast(pc.struct_field(values, "int_value"), pa.string()),
    ]
    for arm, to_text in _RARE_ARMS:
        column = pc.struct_field(values, arm)
        if column.null_count < len(column):
            text.append(to_text(column))
    return pc.coalesce(*text)


def _once_each(decode: Callable[[bytes], str]) -> Callable[[pa.Array], pa.Array]:
    def apply(column: pa.Array) -> pa.Array:
        encoded = column.dictionary_encode()
        texts = pa.array([decode(value.as_py()) for value in encoded.dictionary], pa.string())
        return texts.take(encoded.indices)

    return apply


_RARE_ARMS: Final[tuple[tuple[str, Callable[[pa.Array], pa.Array]], ...]] = (
    ("bool_value", lambda column: pc.cast(column, pa.string())),
    ("double_value", lambda column: pc.cast(column, pa.string())),
    ("array_value", _once_each(array_text)),
    ("kvlist_value", _once_each(kvlist_text)),
    ("bytes_value", _once_each(lambda value: base64.b64encode(value).decode())),
)


def _item_attributes(signal: Signal, items: pa.StructArray) -> pa.Table:
    if signal == "metrics":  # a metric's attributes sit on its data points, which stay as sent
        return pa.table({"row": pa.array([], pa.int64()), "key": pa.array([], pa.string()),
                         "value": pa.array([], pa.string())})  # fmt: skip
    return attribute_table("row", pc.struct_field(items, "attributes"))


def text_map(lists: pa.ListArray) -> pa.MapArray:
    """Return lists of KeyValue as maps of text; of a repeated key the first."""
    parent, pairs = _unnest(lists)
    offsets = pc.subtract(lists.offsets, lists.offsets[0])
    keys, values = pc.struct_field(pairs, "key"), any_text(pc.struct_field(pairs, "value"))
    if _has_duplicates(parent, keys):
        return _first_of_each_key(offsets, keys, values)
    return pa.MapArray.from_arrays(offsets, keys, values)


def _has_duplicates(parent: pa.Array, keys: pa.Array) -> bool:
    encoded = keys.dictionary_encode()
    spread = pc.multiply(pc.cast(parent, pa.int64()), max(len(encoded.dictionary), 1))
    distinct: int = pc.count_distinct(pc.add(spread, encoded.indices)).as_py()
    return distinct < len(keys)


def _first_of_each_key(offsets: pa.Array, keys: pa.Array, values: pa.Array) -> pa.MapArray:
    """The rare path: OTLP forbids duplicate keys, and a map column can't hold them."""
    bounds, names, texts = offsets.to_pylist(), keys.to_pylist(), values.to_pylist()
    maps: list[list[tuple[str, str | None]]] = []
    for start, end in pairwise(bounds):
        first: dict[str, str | None] = {}
        for at in range(start, end):
            first.setdefault(names[at], texts[at])
        maps.append(list(first.items()))
    return pa.array(maps, pa.map_(pa.string(), pa.string()))


def _span_fields(spans: pa.StructArray) -> dict[str, Any]:
    status = pc.struct_field(spans, "status")
    events = pc.struct_field(spans, "events")
    _, event = _unnest(events)
    event_rows = pa.StructArray.from_arrays(
        [
            pc.struct_field(event, "time"),
            pc.struct_field(event, "name"),
            text_map(pc.struct_field(event, "attributes")),
        ],
        ["time", "name", "attributes"],
    )
    offsets = pc.subtract(events.offsets, events.offsets[0])
    plain = ("trace_id", "span_id", "parent_span_id", "trace_state", "name", "kind",
             "start_time", "end_time", "flags")  # fmt: skip
    return {name: pc.struct_field(spans, name) for name in plain} | {
        "attributes": text_map(pc.struct_field(spans, "attributes")),
        "events": pa.ListArray.from_arrays(offsets, event_rows),
        "status_code": pc.struct_field(status, "code"),
        "status_message": pc.struct_field(status, "message"),
    }


def _log_fields(records: pa.StructArray) -> dict[str, Any]:
    plain = ("time", "observed_time", "severity_number", "severity_text", "trace_id", "span_id",
             "event_name")  # fmt: skip
    return {name: pc.struct_field(records, name) for name in plain} | {
        "attributes": text_map(pc.struct_field(records, "attributes")),
        "body": any_text(pc.struct_field(records, "body")),
    }


def _metric_fields(metrics: pa.StructArray) -> dict[str, Any]:
    kinds = [
        pc.if_else(pc.is_valid(pc.struct_field(metrics, arm)), arm, pa.scalar(None, pa.string()))
        for arm in METRIC_DATA
    ]
    return {
        "name": pc.struct_field(metrics, "name"),
        "unit": pc.struct_field(metrics, "unit"),
        "metric_kind": pc.coalesce(*kinds),
        "data": pc.coalesce(*(pc.struct_field(metrics, arm) for arm in METRIC_DATA)),
    }


_FIELDS: Final = {"traces": _span_fields, "logs": _log_fields, "metrics": _metric_fields}


_STORED: Final = ("name", "status_message", "attributes", "events", "body", "severity_text", "data")


def as_stored(rows: Rows) -> pa.Table:
    """Return the items with a ``stored_`` column beside each text; without redaction it is what was sent."""
    items = rows.items
    for name in _STORED:
        if name in items.column_names and f"stored_{name}" not in items.column_names:
            items = items.append_column(f"stored_{name}", items[name])
    return items


def resources_as_stored(rows: Rows) -> pa.Table:
    """Return the resources' attributes with a ``stored_value``, NULL for what is not stored."""
    pairs = rows.resource_attributes
    if "stored_value" in pairs.column_names:
        return pairs
    return pairs.append_column("stored_value", pairs["value"])
