"""Decode: native columns against a plain Python loop over the messages, both into Arrow tables.

`python bench/decode.py` prints the spans per second of both, in turn, and their ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from traffic import request_body

from taximeter_collector.ingest.decode import flatten, parse

REQUESTS, SPANS, ROUNDS = 8, 512, 7


def native(bodies: list[bytes]) -> int:
    """Return the number of spans in the flat tables."""
    return int(flatten("traces", [parse("traces", body) for body in bodies]).items.num_rows)


def loop(bodies: list[bytes]) -> int:
    """Return the number of rows of the same tables, filled by a loop over messages."""
    spans: dict[str, list[object]] = {name: [] for name in _COLUMNS}
    attributes: dict[str, list[object]] = {"row": [], "key": [], "value": []}
    row = 0
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    pairs = [(pair.key, _text(pair.value)) for pair in span.attributes]
                    values = (span.trace_id, span.span_id, span.parent_span_id, span.name, span.kind,
                              span.start_time_unix_nano, span.end_time_unix_nano, span.status.code,
                              scope.scope.name, pairs)  # fmt: skip
                    for name, value in zip(_COLUMNS, values, strict=True):
                        spans[name].append(value)
                    for key, text in pairs:
                        attributes["row"].append(row)
                        attributes["key"].append(key)
                        attributes["value"].append(text)
                    row += 1
    pa.table(attributes)
    return int(pa.table(spans, schema=_SCHEMA).num_rows)


_SCHEMA = pa.schema(
    [("trace_id", pa.binary()), ("span_id", pa.binary()), ("parent_span_id", pa.binary()),
     ("name", pa.string()), ("kind", pa.int32()), ("start_time", pa.uint64()),
     ("end_time", pa.uint64()), ("status_code", pa.int32()), ("scope_name", pa.string()),
     ("attributes", pa.map_(pa.string(), pa.string()))]
)  # fmt: skip
_COLUMNS = _SCHEMA.names


def _text(value: object) -> str:
    arm = value.WhichOneof("value")  # type: ignore[attr-defined]
    if arm == "array_value":
        return str([_text(item) for item in value.array_value.values])  # type: ignore[attr-defined]
    return str(getattr(value, arm))


def main() -> None:
    """Time both in turn and print medians."""
    bodies = [request_body(SPANS) for _ in range(REQUESTS)]
    spans, seconds = REQUESTS * SPANS, {"native": list[float](), "loop": list[float]()}
    ways: dict[str, Callable[[list[bytes]], int]] = {"native": native, "loop": loop}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            started = time.process_time()
            if way(bodies) != spans:
                raise SystemExit(f"{name} lost spans")
            seconds[name].append(time.process_time() - started)
    rate = {name: spans / statistics.median(taken) for name, taken in seconds.items()}
    print(f"native decode  {rate['native']:>9,.0f} spans per CPU-second")
    print(f"plain loop     {rate['loop']:>9,.0f} spans per CPU-second")
    print(f"ratio          {rate['native'] / rate['loop']:>9.1f}")


if __name__ == "__main__":
    main()
