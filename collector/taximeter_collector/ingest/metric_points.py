"""The points of the metrics that count tokens or cost, as flat Arrow tables. No Python per point.

A point without a time is rejected before: https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/metrics/v1/metrics.proto
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from taximeter_collector.ingest.decode import (
    METRIC_DATA,
    Rows,
    Undecodable,
    attribute_table,
    read_messages,
    text_map,
)
from taximeter_collector.ingest.utf8_repair import repair_utf8

_KINDS: Final = ("sum", "histogram", "exponential_histogram")
_DELTA, _CUMULATIVE = 1, 2


def without_timeless(body: bytes) -> bytes:
    """Return a request without its points that have no time; the rare path. Raises Undecodable."""
    request = ExportMetricsServiceRequest()
    try:
        request.ParseFromString(repair_utf8(request.DESCRIPTOR, body))
    except (DecodeError, ValueError) as error:
        raise Undecodable(str(error)) from None
    for resource in request.resource_metrics:
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            if kind is not None:
                points = getattr(metric, kind).data_points
                kept = [point for point in points if point.time_unix_nano]
                del points[:]
                points.extend(kept)
    return request.SerializeToString()


def metric_points(metrics: Rows, names: Collection[str]) -> Rows:
    """Return the points of the metrics called ``names``; a gauge or summary counts nothing.

    Items: ``row, request, resource, scope_name, scope_version, name, start_time, end_time, value,
    is_cumulative, attributes``; times in Unix nanoseconds. `parse` has read the data once already.
    """
    wanted = metrics.items.filter(
        pc.is_in(metrics.items["name"], pa.array(sorted(names), pa.string()))
    )
    tables = [
        _points(wanted.filter(pc.equal(wanted["metric_kind"], kind)), kind) for kind in _KINDS
    ]
    items = pa.concat_tables([table for table in tables if table is not None] or [_none()])
    items = items.append_column("row", pa.array(range(len(items)), pa.int64()))
    lists = items["pairs"].combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    return Rows(
        items.drop_columns(["pairs"]).append_column("attributes", text_map(lists)),
        attribute_table("row", lists),
        metrics.resource_attributes,
    )


def _points(metrics: pa.Table, kind: str) -> pa.Table | None:
    if len(metrics) == 0:
        return None
    data = read_messages(METRIC_DATA[kind], metrics["data"].to_pylist())
    # Of another temporality nobody knows whether a point counts again what the one before it did.
    is_known = pc.is_in(data.column("temporality"), pa.array([_DELTA, _CUMULATIVE], pa.int32()))
    metrics, data = metrics.filter(is_known), data.filter(is_known)
    lists = data.column("data_points")
    metric, points = pc.list_parent_indices(lists), pc.list_flatten(lists)
    if kind == "sum":
        value = pc.coalesce(
            pc.struct_field(points, "as_double"),
            pc.cast(pc.struct_field(points, "as_int"), pa.float64()),
        )
    else:
        value = pc.struct_field(points, "sum")
    whose = metrics.select(["request", "resource", "scope_name", "scope_version", "name"])
    columns = {name: whose[name].take(metric) for name in whose.column_names}
    return pa.table(
        columns
        | {
            "start_time": pc.struct_field(points, "start_time"),
            "end_time": pc.struct_field(points, "time"),
            "value": value,
            "is_cumulative": pc.not_equal(data.column("temporality").take(metric), _DELTA),
            "pairs": pc.struct_field(points, "attributes"),
        }
    )


def _none() -> pa.Table:
    """Return no points, in the columns that `_points` gives them."""
    empty = read_messages("Sum", [b""])
    points = pc.list_flatten(empty.column("data_points"))
    text, number = pa.array([], pa.string()), pa.array([], pa.int64())
    return pa.table(
        {"request": number, "resource": number, "scope_name": text, "scope_version": text}
        | {"name": text, "start_time": pa.array([], pa.uint64()), "end_time": pa.array([], pa.uint64())}
        | {"value": pa.array([], pa.float64()), "is_cumulative": pa.array([], pa.bool_())}
        | {"pairs": pc.struct_field(points, "attributes")}
    )  # fmt: skip
