"""The same telemetry in another order, cut, repetition and encoding."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def spans_of(bodies: Iterable[bytes]) -> list[ExportTraceServiceRequest]:
    """Return one request a span, with its resource and scope."""
    found = []
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    single = ExportTraceServiceRequest()
                    alone = single.resource_spans.add(
                        resource=resource.resource, schema_url=resource.schema_url
                    )
                    alone.scope_spans.add(
                        scope=scope.scope, schema_url=scope.schema_url, spans=[span]
                    )
                    found.append(single)
    return found


def disordered(
    bodies: Iterable[bytes], chance: random.Random, *, again: float = 0.15, most: int = 60
) -> list[bytes]:
    """Return the spans of ``bodies`` in any order, a share ``again`` of them twice, in requests of 1 to ``most``."""
    spans = spans_of(bodies)
    spans += chance.sample(spans, int(len(spans) * again))
    chance.shuffle(spans)
    requests = []
    while spans:
        size = chance.choice([1, 1, 2, 5, 20, most])
        request = ExportTraceServiceRequest()
        for single in spans[:size]:
            request.MergeFrom(single)
        requests.append(request.SerializeToString())
        del spans[:size]
    return requests


def merged(bodies: Sequence[bytes], size: int) -> list[bytes]:
    """Return fewer requests: ``size`` of ``bodies`` in each."""
    return [b"".join(bodies[at : at + size]) for at in range(0, len(bodies), size)]


def as_json(body: bytes) -> bytes:
    """Return a protobuf request as OTLP JSON: ids in hex."""
    document = json_format.MessageToDict(ExportTraceServiceRequest.FromString(body))
    return json.dumps(_hex_ids(document)).encode()


def _hex_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64decode(item).hex()
            if key in ("traceId", "spanId", "parentSpanId")
            else _hex_ids(item)
            for key, item in value.items()
        }
    return [_hex_ids(item) for item in value] if isinstance(value, list) else value
