"""Export requests of real clients, damaged in ways that a seed decides: what a fuzzer sends.

Half are damaged as bytes, half as what they mean (ids, numbers, texts, nesting), so that both the wire
format's reader and everything behind it meet what nobody sends on purpose.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

import zstandard
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.corpus.archive import Export

from taximeter_collector.ingest.decode import Signal

MAX_BODY: Final = 200_000
_REQUESTS: Final[dict[Signal, type[Message]]] = {
    "traces": ExportTraceServiceRequest,
    "logs": ExportLogsServiceRequest,
    "metrics": ExportMetricsServiceRequest,
}
_INTEGERS: Final = (0, 1, -1, 2, 127, 128, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, -(2**63),
                    2**64 - 1, 253402300800 * 10**9)  # fmt: skip
_FLOATS: Final = (0.0, -0.0, math.nan, math.inf, -math.inf, 1e308, 5e-324, 1e20, -1.5)
_TEXTS: Final = ("", "\0", "'", '"; drop table span; --', "ä€😀", "x" * 5000, "nan", "1e999", "-1",
                 "9" * 40, '{"a": [', "[" * 200, "null", "true", "2026-13-45T99:99:99Z", "\ufffe",
                 "gen_ai.usage.input_tokens", "__proto__", "%s%n", "\x1b[31m")  # fmt: skip
_BYTES: Final = (b"", b"\0", b"\0" * 8, b"\0" * 16, b"\xff" * 8, b"\xff" * 16, b"\x01" * 17)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One damaged request as it would come over HTTP."""

    signal: Signal
    is_json: bool
    encoding: str
    body: bytes


def mutant(corpus: Sequence[Export], seed: int) -> Mutant:
    """Return the damaged request of a seed: the same for the same corpus and seed."""
    random = Random(seed)
    export = random.choice(corpus)
    body = export.body
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        if random.random() < 0.5:
            body = _as_meant(random, export, body)
        else:
            body = _as_bytes(random, body, corpus)
    signal = random.choice(tuple(_REQUESTS)) if random.random() < 0.02 else export.signal
    encoding, body = _packed(random, body[:MAX_BODY])
    return Mutant(signal, export.is_json, encoding, body)


def _packed(random: Random, body: bytes) -> tuple[str, bytes]:
    if random.random() < 0.9:
        return "", body
    name, pack = random.choice(_PACKERS)
    packed = pack(body)
    if random.random() < 0.3:
        packed = _flip(random, packed)
    return name, packed


_PACKERS: Final[tuple[tuple[str, Callable[[bytes], bytes]], ...]] = (
    ("gzip", lambda body: gzip.compress(body, 1, mtime=0)),
    ("deflate", lambda body: zlib.compress(body, 1)),
    ("zstd", lambda body: zstandard.compress(body, 1)),
    ("br", lambda body: body),
)


def _as_bytes(random: Random, body: bytes, corpus: Sequence[Export]) -> bytes:
    return random.choice(_BYTE_DAMAGES)(random, body, corpus)


def _flip(random: Random, body: bytes) -> bytes:
    damaged = bytearray(body)
    for _ in range(random.choice((1, 1, 2, 8))):
        if damaged:
            damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def _slice(random: Random, body: bytes) -> tuple[int, int]:
    start = random.randrange(len(body) + 1)
    return start, min(start + random.choice((1, 2, 8, 64, 1024)), len(body))


def _cut_out(random: Random, body: bytes, _: Sequence[Export]) -> bytes:
    start, end = _slice(random, body)
    return body[:start] + body[end:]


def _repeat(random: Random, body: bytes, _: Sequence[Export]) -> bytes:
    start, end = _slice(random, body)
    return body[:end] + body[start:end] * random.choice((1, 3, 30)) + body[end:]


def _insert(random: Random, body: bytes, _: Sequence[Export]) -> bytes:
    at = random.randrange(len(body) + 1)
    extremes = (b"\xff" * 10, b"\x80" * 9 + b"\x01", b"\0" * 4, random.randbytes(6))
    return body[:at] + random.choice(extremes) + body[at:]


def _splice(random: Random, body: bytes, corpus: Sequence[Export]) -> bytes:
    other = random.choice(corpus).body
    return body[: random.randrange(len(body) + 1)] + other[random.randrange(len(other) + 1) :]


def _end_early(random: Random, body: bytes, _: Sequence[Export]) -> bytes:
    return body[: random.randrange(len(body) + 1)]


_BYTE_DAMAGES: Final = (
    lambda random, body, _: _flip(random, body),
    _cut_out,
    _repeat,
    _insert,
    _splice,
    _end_early,
)


def _as_meant(random: Random, export: Export, body: bytes) -> bytes:
    """Change what a request says; of what can't be read any more, bytes."""
    try:
        if export.is_json:
            return json.dumps(_changed(random, json.loads(body))).encode()
        message = _REQUESTS[export.signal]()
        message.ParseFromString(body)
    except (ValueError, RecursionError, DecodeError):
        return _flip(random, body)
    _change(random, message)
    try:
        return message.SerializeToString()
    except (ValueError, RecursionError):
        return body


def _change(random: Random, message: Any) -> None:
    """Walk down at random and change the field that is met."""
    for _ in range(40):
        present = [field for field, _ in message.ListFields()]
        fields = present if present and random.random() < 0.85 else message.DESCRIPTOR.fields
        if not fields:
            return
        field = random.choice(fields)
        if field.message_type is None:
            _set_plain(random, message, field)
            return
        if field.is_repeated:
            items = getattr(message, field.name)
            if items and random.random() < 0.1:
                items.add().CopyFrom(random.choice(items))
            message = random.choice(items) if items else items.add()
        else:
            message = getattr(message, field.name)
            message.SetInParent()


def _set_plain(random: Random, message: Any, field: FieldDescriptor) -> None:
    kinds: dict[int, Sequence[object]] = {
        FieldDescriptor.CPPTYPE_STRING: _BYTES
        if field.type == FieldDescriptor.TYPE_BYTES
        else _TEXTS,
        FieldDescriptor.CPPTYPE_DOUBLE: _FLOATS,
        FieldDescriptor.CPPTYPE_FLOAT: _FLOATS,
        FieldDescriptor.CPPTYPE_BOOL: (True, False),
    }
    value = random.choice(kinds.get(field.cpp_type, _INTEGERS))
    try:
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)
    except (ValueError, TypeError):  # a number beyond the field's range
        message.ClearField(field.name)


def _changed(random: Random, value: Any) -> Any:
    """Return a JSON document with one part of it changed."""
    if random.random() < 0.12 or not isinstance(value, (dict, list)) or not value:
        return _odd_json(random, value)
    if isinstance(value, list):
        at = random.randrange(len(value))
        return [*value[:at], _changed(random, value[at]), *value[at + 1 :]]
    key = random.choice(list(value))
    if random.random() < 0.05:
        return {k: v for k, v in value.items() if k != key} | {random.choice(_TEXTS): value[key]}
    return value | {key: _changed(random, value[key])}


def _odd_json(random: Random, value: Any) -> Any:
    deep: Any = value
    for _ in range(random.choice((3, 60, 400))):
        deep = random.choice(([deep], {"kvlistValue": deep}, {"values": [deep]}))
    choices: tuple[Any, ...] = (
        None,
        True,
        [],
        {},
        deep,
        [value, value],
        str(value)[:2000],
        *_INTEGERS,
        *_FLOATS,
    )
    return random.choice((random.choice(choices), random.choice(_TEXTS)))
