"""The data of metrics in, the same without what may not be stored of their points' attributes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableSequence, Sequence
from typing import Any, Final

import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2

from taximeter_collector.ingest.utf8_repair import repair_utf8

Clean = Callable[[Sequence[str], Sequence[str | None]], Sequence[tuple[bool, str | None]]]
"""Keys and texts → whether each is stored, and as what."""
_KINDS: Final[dict[str, Callable[[], Any]]] = {
    "gauge": metrics_pb2.Gauge,
    "sum": metrics_pb2.Sum,
    "histogram": metrics_pb2.Histogram,
    "exponential_histogram": metrics_pb2.ExponentialHistogram,
    "summary": metrics_pb2.Summary,
}


def mask_points(metrics: pa.Table, clean: Clean) -> pa.Array:
    """Return column ``data`` masked; what is no data of its kind becomes empty."""
    read = [
        _read(row["metric_kind"], row["data"])
        for row in metrics.select(["metric_kind", "data"]).to_pylist()
    ]
    lists = [pairs for data in read if data is not None for pairs in _lists(data)]
    texts = [(pair.key, text) for pairs in lists for pair in pairs for text in _texts(pair.value)]
    said = sorted(set(texts))
    found = dict(zip(said, clean([k for k, _ in said], [t for _, t in said]), strict=True))
    for pairs in lists:
        _mask(pairs, found)
    return pa.array(
        [None if data is None else data.SerializeToString() for data in read], pa.binary()
    )


def _read(kind: str | None, data: bytes | None) -> Any:
    if kind is None or data is None:
        return None
    message = _KINDS[kind]()
    try:
        message.ParseFromString(repair_utf8(message.DESCRIPTOR, data))
    except (DecodeError, ValueError):
        message.Clear()
    message.DiscardUnknownFields()
    return message


def _lists(data: Any) -> Iterator[MutableSequence[KeyValue]]:
    for point in data.data_points:
        yield point.attributes
        for exemplar in getattr(point, "exemplars", ()):
            yield exemplar.filtered_attributes


def _texts(value: AnyValue) -> Iterator[str]:
    """Yield the texts of a value; a value without any counts by its key alone."""
    kind = value.WhichOneof("value")
    if kind == "string_value":
        yield value.string_value
    elif kind == "array_value":
        for one in value.array_value.values:
            yield from _texts(one)
    elif kind == "kvlist_value":
        for pair in value.kvlist_value.values:
            yield from _texts(pair.value)
    yield ""


def _mask(
    pairs: MutableSequence[KeyValue], found: dict[tuple[str, str], tuple[bool, str | None]]
) -> None:
    for place in reversed(range(len(pairs))):
        pair = pairs[place]
        if not found[pair.key, ""][0]:
            del pairs[place]
        else:
            _replace(pair.key, pair.value, found)


def _replace(
    key: str, value: AnyValue, found: dict[tuple[str, str], tuple[bool, str | None]]
) -> None:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        value.string_value = found[key, value.string_value][1] or ""
    elif kind == "array_value":
        for one in value.array_value.values:
            _replace(key, one, found)
    elif kind == "kvlist_value":
        for pair in value.kvlist_value.values:
            _replace(key, pair.value, found)
