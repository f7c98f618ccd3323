"""Who may read the HTTP port, and what every reading handler does with a request's body and a refusal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from taximeter.settings.secret import Secret
from taximeter_collector.query.read_api import QueryFault, stopping
from taximeter_collector.receivers.http_receiver import is_authorised

Handler = Callable[[Request], Awaitable[Response]]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
_LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def guard_by(*tokens: Secret | None, which: str = "query") -> Callable[[Handler], Handler]:
    """Return a decorator that lets only those in who have one of the tokens; all where one is not set."""

    def guard(handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            if not any(is_authorised(request, token) for token in tokens):
                fault = QueryFault(
                    401, "unauthorised", f"Send Authorization: Bearer <{which} token>."
                )
                return fault_response(fault, {"WWW-Authenticate": "Bearer"})
            # A web page that points its own name at 127.0.0.1 is still known by that name.
            if None in tokens and not _is_loopback(request.headers.get("host", "")):
                return fault_response(
                    QueryFault(403, "host", f"Without a {which} token, ask by a loopback address.")
                )
            try:
                return await handler(request)
            except asyncio.CancelledError:  # the server waits no longer: it ends
                return fault_response(stopping())

        return guarded

    return guard


def document_of(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise QueryFault(400, "request", "The body must be a JSON object.")
    return document


def refuse_forms(request: Request) -> None:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and "origin" in request.headers:
        # A page elsewhere can post a form without asking; `curl -d` has no origin.
        raise QueryFault(415, "request", "Send the query as application/json.")


async def body_of(request: Request) -> bytes:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise QueryFault(
                413, "request", f"A request here has at most {MAX_BODY_BYTES >> 20} MiB."
            )
        parts.append(part)
    return b"".join(parts)


def fault_response(fault: QueryFault, headers: dict[str, str] | None = None) -> Response:
    return Response(
        fault.body(), status_code=fault.status, headers=headers, media_type="application/json"
    )


def _is_loopback(host: str) -> bool:
    """Return whether a Host header names this machine.

    >>> _is_loopback("localhost:4318"), _is_loopback("[::1]"), _is_loopback("evil.example")
    (True, True, False)
    """
    return urlsplit(f"//{host}").hostname in _LOOPBACK_NAMES
