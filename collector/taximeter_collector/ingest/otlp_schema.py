"""Descriptors of the OTLP requests, wire-compatible with opentelemetry-proto, for native decoding.

The only change: the recursive arms of ``AnyValue`` are ``bytes``, because a columnar schema cannot
recurse; `decode.py` reads them where they occur.
Source: opentelemetry-proto 1.11 (field numbers).
"""

from __future__ import annotations

from typing import Final

import ptars
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor

_PACKAGE: Final = "taximeter.otlp"
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "string": _Field.TYPE_STRING,
    "bytes": _Field.TYPE_BYTES,
    "bool": _Field.TYPE_BOOL,
    "int64": _Field.TYPE_INT64,
    "sint32": _Field.TYPE_SINT32,
    "int32": _Field.TYPE_INT32,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
    "double": _Field.TYPE_DOUBLE,
    "fixed64": _Field.TYPE_FIXED64,
    "fixed32": _Field.TYPE_FIXED32,
    "sfixed64": _Field.TYPE_SFIXED64,
}

# message -> field -> (number, type); a leading * is repeated, a leading ? is an arm of a oneof.
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "AnyValue": {
        "string_value": (1, "?string"),
        "bool_value": (2, "?bool"),
        "int_value": (3, "?int64"),
        "double_value": (4, "?double"),
        "array_value": (5, "?bytes"),
        "kvlist_value": (6, "?bytes"),
        "bytes_value": (7, "?bytes"),
    },
    "KeyValue": {"key": (1, "string"), "value": (2, "AnyValue")},
    "Resource": {"attributes": (1, "*KeyValue")},
    "Scope": {"name": (1, "string"), "version": (2, "string"), "attributes": (3, "*KeyValue")},
    "Status": {"message": (2, "string"), "code": (3, "int32")},
    "Event": {"time": (1, "fixed64"), "name": (2, "string"), "attributes": (3, "*KeyValue")},
    "Link": {
        "trace_id": (1, "bytes"),
        "span_id": (2, "bytes"),
        "trace_state": (3, "string"),
        "attributes": (4, "*KeyValue"),
    },
    "Span": {
        "trace_id": (1, "bytes"),
        "span_id": (2, "bytes"),
        "trace_state": (3, "string"),
        "parent_span_id": (4, "bytes"),
        "name": (5, "string"),
        "kind": (6, "int32"),
        "start_time": (7, "fixed64"),
        "end_time": (8, "fixed64"),
        "attributes": (9, "*KeyValue"),
        "dropped_attributes_count": (10, "uint32"),
        "events": (11, "*Event"),
        "links": (13, "*Link"),
        "status": (15, "Status"),
        "flags": (16, "fixed32"),
    },
    "ScopeSpans": {"scope": (1, "Scope"), "spans": (2, "*Span")},
    "ResourceSpans": {"resource": (1, "Resource"), "scope_spans": (2, "*ScopeSpans")},
    "Traces": {"resource_spans": (1, "*ResourceSpans")},
    "LogRecord": {
        "time": (1, "fixed64"),
        "severity_number": (2, "int32"),
        "severity_text": (3, "string"),
        "body": (5, "AnyValue"),
        "attributes": (6, "*KeyValue"),
        "flags": (8, "fixed32"),
        "trace_id": (9, "bytes"),
        "span_id": (10, "bytes"),
        "observed_time": (11, "fixed64"),
        "event_name": (12, "string"),
    },
    "ScopeLogs": {"scope": (1, "Scope"), "log_records": (2, "*LogRecord")},
    "ResourceLogs": {"resource": (1, "Resource"), "scope_logs": (2, "*ScopeLogs")},
    "Logs": {"resource_logs": (1, "*ResourceLogs")},
    # A metric's data stays as sent: the arms are bytes, which `metric_points.py` reads where a dialect
    # counts tokens by metrics. Of a point only what a sum needs: buckets and exemplars are left out.
    "Metric": {
        "name": (1, "string"),
        "description": (2, "string"),
        "unit": (3, "string"),
        "gauge": (5, "?bytes"),
        "sum": (7, "?bytes"),
        "histogram": (9, "?bytes"),
        "exponential_histogram": (10, "?bytes"),
        "summary": (11, "?bytes"),
    },
    "ScopeMetrics": {"scope": (1, "Scope"), "metrics": (2, "*Metric")},
    "NumberPoint": {
        "start_time": (2, "fixed64"),
        "time": (3, "fixed64"),
        "as_double": (4, "?double"),
        "as_int": (6, "?sfixed64"),
        "attributes": (7, "*KeyValue"),
    },
    "HistogramPoint": {
        "start_time": (2, "fixed64"),
        "time": (3, "fixed64"),
        "sum": (5, "double"),
        "attributes": (9, "*KeyValue"),
    },
    "ExponentialPoint": {
        "attributes": (1, "*KeyValue"),
        "start_time": (2, "fixed64"),
        "time": (3, "fixed64"),
        "sum": (5, "double"),
    },
    "SummaryPoint": {
        "start_time": (2, "fixed64"),
        "time": (3, "fixed64"),
        "attributes": (7, "*KeyValue"),
    },
    "Gauge": {"data_points": (1, "*NumberPoint")},
    "Summary": {"data_points": (1, "*SummaryPoint")},
    "Sum": {"data_points": (1, "*NumberPoint"), "temporality": (2, "int32")},
    "Histogram": {"data_points": (1, "*HistogramPoint"), "temporality": (2, "int32")},
    "ExponentialHistogram": {"data_points": (1, "*ExponentialPoint"), "temporality": (2, "int32")},
    "ResourceMetrics": {"resource": (1, "Resource"), "scope_metrics": (2, "*ScopeMetrics")},
    "Metrics": {"resource_metrics": (1, "*ResourceMetrics")},
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="taximeter_otlp.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, (number, spelled) in fields.items():
            kind = spelled.lstrip("*?")
            field = message.field.add(name=field_name, number=number)
            field.label = _Field.LABEL_REPEATED if spelled[0] == "*" else _Field.LABEL_OPTIONAL
            if kind in _SCALARS:
                field.type = _SCALARS[kind]
            else:
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"
            if spelled[0] == "?":
                if not message.oneof_decl:
                    message.oneof_decl.add(name="value")
                field.oneof_index = 0
    return file


_POOL: Final = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
HANDLERS: Final = ptars.HandlerPool([_POOL.FindFileByName("taximeter_otlp.proto")])


def descriptor(message: str) -> Descriptor:
    """Return our descriptor of ``Traces``, ``Logs``, ``Metrics`` or a message inside them."""
    return _POOL.FindMessageTypeByName(f"{_PACKAGE}.{message}")
