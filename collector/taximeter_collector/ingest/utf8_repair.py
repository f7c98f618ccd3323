"""One bad string must not lose its neighbours: replaces invalid UTF-8 inside a request.

The rare path: only a request that the decoder refused for its UTF-8 comes here.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH: Final = 64


def repair_utf8(schema: Descriptor, body: bytes) -> bytes:
    """Return a message ``body`` with U+FFFD for what is not UTF-8 in the string fields of ``schema``.

    Raises ValueError where the wire format itself is broken.
    """
    return _repair(schema, body, 0)


def _repair(schema: Descriptor, body: bytes, depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deeply")
    fields = schema.fields_by_number
    out, at = bytearray(), 0
    while at < len(body):
        tag, after_tag = _varint(body, at)
        wire, field = tag & 7, fields.get(tag >> 3)
        if wire != _BYTES:
            end = _skip(body, after_tag, wire)
            out += body[at:end]
            at = end
            continue
        length, start = _varint(body, after_tag)
        end = start + length
        if end > len(body):
            raise ValueError("unexpected end of a field")
        value = _repaired(field, body[start:end], depth)
        out += body[at:after_tag] + _to_varint(len(value)) + value
        at = end
    return bytes(out)


def _repaired(field: FieldDescriptor | None, value: bytes, depth: int) -> bytes:
    if field is None:
        return value
    if field.type == FieldDescriptor.TYPE_STRING:
        return value.decode("utf-8", "replace").encode()
    if field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not None:
        return _repair(field.message_type, value, depth + 1)
    return value


def _skip(body: bytes, at: int, wire: int) -> int:
    if wire == _VARINT:
        return _varint(body, at)[1]
    if wire in (_FIXED64, _FIXED32):
        end = at + (8 if wire == _FIXED64 else 4)
        if end <= len(body):
            return end
    raise ValueError("broken wire format")


def _varint(body: bytes, at: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise ValueError("broken varint")


def _to_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
