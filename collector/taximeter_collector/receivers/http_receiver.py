"""OTLP over HTTP: POST /v1/traces, /v1/logs, /v1/metrics in protobuf and JSON."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from taximeter.settings.secret import Secret
from taximeter_collector.ingest.decode import SIGNALS, Signal
from taximeter_collector.receivers.acceptance import Acceptor, accept, say
from taximeter_collector.receivers.content_encoding import decompress
from taximeter_collector.receivers.otlp_json import json_to_protobuf
from taximeter_collector.receivers.responses import (
    CONTENT_TYPES,
    RETRY_AFTER_S,
    BodyTooLarge,
    Encoding,
    NotAuthorised,
    UnsupportedEncoding,
    error_body,
    refusal_of,
    success_body,
)

BODY_TIMEOUT_S: Final = 60.0
# A client reads our 413 only after it has sent everything; this much we let it send.
_DRAIN_FACTOR: Final = 4
_LARGE_BYTES: Final = 16 * 1024
_MEDIA_TYPES: Final[dict[str, Encoding]] = {
    "application/x-protobuf": "protobuf",
    "application/json": "json",
}


def otlp_routes(ingest: Acceptor, limit: int, token: Secret | None) -> list[Route]:
    """Return the three routes; `limit` is the largest body in bytes, inflated or not."""
    return [
        Route(f"/v1/{signal}", _endpoint(signal, ingest, limit, token), methods=["POST"])
        for signal in SIGNALS
    ]


def is_authorised(request: Request, token: Secret | None) -> bool:
    """Return whether the request carries the bearer token; without a token all do."""
    if token is None:
        return True
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and token.matches(given.strip())


def _endpoint(
    signal: Signal, ingest: Acceptor, limit: int, token: Secret | None
) -> Callable[[Request], Awaitable[Response]]:
    async def export(request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = _MEDIA_TYPES.get(media_type)
        try:
            if not is_authorised(request, token):
                raise NotAuthorised("send the header Authorization: Bearer with the ingest token")
            if encoding is None:
                raise UnsupportedEncoding(
                    f"Content-Type {media_type[:60]!r} is not OTLP: use {', '.join(_MEDIA_TYPES)}"
                )
            body = await _read(request, limit)
            body = await _decode(signal, body, encoding, request, limit)
            outcome = await accept(ingest, signal, body)
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception as error:  # noqa: BLE001 - whatever failed, the client gets an OTLP answer
            return _refuse(error, encoding or "json")
        return Response(success_body(signal, outcome, encoding), media_type=CONTENT_TYPES[encoding])

    return export


async def _read(request: Request, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async with asyncio.timeout(BODY_TIMEOUT_S):
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                parts.append(part)
                continue
            parts.clear()
            if size > limit * _DRAIN_FACTOR:
                break
    if size > limit:
        raise BodyTooLarge(f"the body is larger than {limit >> 20} MiB")
    return b"".join(parts)


async def _decode(
    signal: Signal, body: bytes, encoding: Encoding, request: Request, limit: int
) -> bytes:
    compression = request.headers.get("content-encoding", "")

    def decode() -> bytes:
        plain = decompress(body, compression, limit)
        return json_to_protobuf(signal, plain) if encoding == "json" else plain

    is_quick = encoding == "protobuf" and not compression
    if is_quick or len(body) <= _LARGE_BYTES:
        return decode()
    return await asyncio.to_thread(decode)


def _refuse(error: Exception, encoding: Encoding) -> Response:
    refusal = refusal_of(error)
    headers = {}
    if refusal.is_retryable:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    if refusal.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if refusal.http_status == 503:
        say("http 503", f"refused with 503: {type(error).__name__}: {error}")
    return Response(
        error_body(refusal, encoding),
        status_code=refusal.http_status,
        headers=headers,
        media_type=CONTENT_TYPES[encoding],
    )
