"""The recursive arms of AnyValue: protobuf bytes in, JSON text out.

Called once per distinct value, so a repeated list (finish reasons, tags) costs one decode.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValueList

MAX_DEPTH: Final = 48
"""Deeper values are cut to null; protobuf itself refuses near 100."""


def array_text(payload: bytes) -> str:
    """Return an ArrayValue as JSON text; an undecodable one as the JSON string of its base64."""
    try:
        return _dump([_plain(item, 1) for item in ArrayValue.FromString(payload).values])
    except DecodeError:
        return _dump(base64.b64encode(payload).decode())


def kvlist_text(payload: bytes) -> str:
    """Return a KeyValueList as JSON text; an undecodable one as the JSON string of its base64."""
    try:
        pairs = KeyValueList.FromString(payload).values
        return _dump({pair.key: _plain(pair.value, 1) for pair in pairs})
    except DecodeError:
        return _dump(base64.b64encode(payload).decode())


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _plain(value: AnyValue, depth: int) -> Any:
    arm = value.WhichOneof("value")
    if arm is None or depth > MAX_DEPTH:
        return None
    if arm == "array_value":
        return [_plain(item, depth + 1) for item in value.array_value.values]
    if arm == "kvlist_value":
        return {pair.key: _plain(pair.value, depth + 1) for pair in value.kvlist_value.values}
    if arm == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    plain = getattr(value, arm)
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    return plain
