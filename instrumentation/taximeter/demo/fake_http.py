"""A small HTTP/1.1 server on asyncio streams: requests in, one handler's responses out.

Keep-alive, Content-Length request bodies, fixed or chunked responses; enough for model SDKs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

MAX_HEAD_BYTES = 1 << 20
MAX_BODY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request; header names are lowercase."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One response; a body that is an iterator is sent chunk by chunk."""

    status: int
    body: bytes | AsyncIterator[bytes]
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]


async def start_http_server(handler: Handler, host: str, port: int) -> asyncio.Server:
    """Return a listening server; port 0 takes a free one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A cancelled connection is the server's own shutdown: end it quietly.
        ended = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.suppress(*ended):
            while await _serve_one(reader, writer, handler):
                pass
        writer.close()

    return await asyncio.start_server(serve, host, port, limit=MAX_HEAD_BYTES, backlog=256)


async def _serve_one(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler
) -> bool:
    """Answer one request; return whether the connection stays open."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        request = await _read_request(head, reader)
    except (asyncio.LimitOverrunError, ValueError):
        await _send(writer, HttpResponse(400, b'{"error":{"message":"malformed request"}}'))
        return False
    await _send(writer, await handler(request))
    return request.headers.get("connection", "").lower() != "close"


async def _read_request(head: bytes, reader: asyncio.StreamReader) -> HttpRequest:
    """Raises ValueError when the head is not HTTP/1.1 or the body is too large."""
    lines = head.decode("latin-1").split("\r\n")
    method, target, _version = lines[0].split(" ", 2)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= MAX_BODY_BYTES:
        raise ValueError("body too large")
    body = await reader.readexactly(length)
    return HttpRequest(method, target.partition("?")[0], headers, body)


async def _send(writer: asyncio.StreamWriter, response: HttpResponse) -> None:
    whole = response.body if isinstance(response.body, bytes) else None
    framing = "transfer-encoding: chunked" if whole is None else f"content-length: {len(whole)}"
    lines = [
        f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"
        if response.status in HTTPStatus._value2member_map_
        else f"HTTP/1.1 {response.status} Unassigned",
        f"content-type: {response.content_type}",
        framing,
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    if isinstance(response.body, bytes):
        writer.write(head + response.body)
        await writer.drain()
        return
    writer.write(head)
    async for chunk in response.body:
        writer.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    await writer.drain()
