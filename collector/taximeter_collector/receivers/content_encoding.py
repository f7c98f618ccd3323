"""A request body as it came in, the same body decompressed out, never more than a limit.

Everything is inflated in steps, so that a small bomb takes no memory before it is refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Final

import zstandard

from taximeter_collector.ingest.decode import Undecodable
from taximeter_collector.receivers.responses import BodyTooLarge, UnsupportedEncoding

_STEP: Final = 256 * 1024
# A zstd block of 4 bytes can hold 128 KiB: 512 bytes give 16 MiB at most before the next check.
_ZSTD_STEP: Final = 512
_GZIP: Final = zlib.MAX_WBITS | 16
_ZLIB: Final = zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Return `body` without its Content-Encoding.

    Raises Undecodable, BodyTooLarge or UnsupportedEncoding.
    """
    name = encoding.strip().lower()
    if name in ("", "identity", "none"):
        return body
    inflate = _DECODERS.get(name)
    if inflate is None:
        raise UnsupportedEncoding(
            f"Content-Encoding {encoding[:40]!r} is not supported; use {', '.join(_DECODERS)}"
        )
    try:
        return inflate(body, limit)
    except (zlib.error, zstandard.ZstdError) as error:
        raise Undecodable(f"the body is not valid {name}: {error}") from None


def _gunzip(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        member, body = _inflate(body, _GZIP, limit - size)
        parts.append(member)
        size += len(member)
        # Some writers pad the last member with zeros.
        if not body.strip(b"\0"):
            return b"".join(parts)


def _undeflate(body: bytes, limit: int) -> bytes:
    """Inflate `deflate`: in zlib's wrapper as the RFC says, else bare as some clients send it."""
    try:
        inflated, rest = _inflate(body, _ZLIB, limit)
    except zlib.error:
        inflated, rest = _inflate(body, _RAW, limit)
    if rest:
        raise Undecodable("there are bytes after the end of the compressed body")
    return inflated


def _inflate(body: bytes, wbits: int, limit: int) -> tuple[bytes, bytes]:
    """Return one inflated member and the bytes behind it."""
    inflater = zlib.decompressobj(wbits)
    parts: list[bytes] = []
    size = 0
    rest = body
    while not inflater.eof:
        part = inflater.decompress(rest, _STEP)
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        rest = inflater.unconsumed_tail
        if not part and not rest and not inflater.eof:
            raise Undecodable("the compressed body ends too early")
    return b"".join(parts), inflater.unused_data


def _unzstd(body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = at = 0
    while at < len(body):
        frame = zstandard.ZstdDecompressor().decompressobj()
        while not frame.eof:
            if at >= len(body):
                raise Undecodable("the compressed body ends too early")
            part = frame.decompress(body[at : at + _ZSTD_STEP])
            at = min(at + _ZSTD_STEP, len(body))
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
        at -= len(frame.unused_data)
    return b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body is larger than {limit >> 20} MiB")


_DECODERS: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _gunzip,
    "deflate": _undeflate,
    "zstd": _unzstd,
}
