"""Ask a collector with the standard library alone: SQL in, the JSON answer out."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from taximeter.settings.secret import Secret
from taximeter.settings.tls import reader_context

# The server stops the statement first, so that its own answer arrives.
_MARGIN_S: Final = 5.0
_WRONG_USAGE: Final = frozenset({400, 401, 403, 413})


class QueryFailed(Exception):
    """No rows; the message says what to do. `exit_code` is 2 when the question was at fault."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def read_query(
    url: str,
    sql: str,
    *,
    token: str | None = None,
    timeout_s: float = 30.0,
    max_rows: int = 1_000_000,
    served: Path | None = None,
) -> dict[str, Any]:
    """Return `{"columns": [{"name", "type"}], "rows": [[…]], …}`. Raises QueryFailed.

    ``served`` is the certificate file of a collector on this machine (`reader_context`).
    """
    asked = {"sql": sql, "timeout_ms": max(int(timeout_s * 1000), 1), "max_rows": max_rows}
    return ask(url, "/v1/query", asked, token=token, timeout_s=timeout_s, served=served)


def ask(
    url: str,
    path: str,
    document: dict[str, Any],
    *,
    token: str | None,
    timeout_s: float,
    served: Path | None = None,
) -> dict[str, Any]:
    """Return a collector's JSON answer to a POST of ``document``. Raises QueryFailed."""
    try:
        with receive(
            url, path, document, token=token, timeout_s=timeout_s, served=served
        ) as response:
            answer: dict[str, Any] = json.load(response)
            return answer
    except (OSError, ValueError) as error:
        raise _no_answer(url, error) from None


def receive(
    url: str,
    path: str,
    document: dict[str, Any],
    *,
    token: str | None,
    timeout_s: float,
    served: Path | None = None,
) -> http.client.HTTPResponse:
    """Return a collector's open answer to a POST of ``document``. Raises QueryFailed."""
    try:
        return open_url(
            url.rstrip("/") + path,
            Secret(token) if token else None,
            body=json.dumps(document).encode(),
            timeout_s=timeout_s + _MARGIN_S,
            served=served,
        )
    except urllib.error.HTTPError as error:
        raise _failure(error.code, error.read()) from None
    except (OSError, ValueError) as error:
        raise _no_answer(url, error) from None


def _no_answer(url: str, error: Exception) -> QueryFailed:
    if isinstance(error, TimeoutError):
        return QueryFailed(f"The collector at {url} gave no answer in time.", 1)
    return QueryFailed(
        f"No collector answers at {url} ({getattr(error, 'reason', error)}):"
        " start one with `taximeter up`.",
        1,
    )


def open_url(
    url: str,
    token: Secret | None,
    *,
    body: bytes | None = None,
    timeout_s: float = 15.0,
    served: Path | None = None,
) -> http.client.HTTPResponse:
    """Return the open answer to a GET, or to a POST of JSON. Raises what urllib raises."""
    headers = {"Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    if token is not None:
        headers["Authorization"] = f"Bearer {token.reveal()}"
    request = urllib.request.Request(url, body, headers)
    # Never by way of a proxy from the environment: the collector is near.
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if url.startswith("https:"):
        handlers.append(urllib.request.HTTPSHandler(context=reader_context(served)))
    opener = urllib.request.build_opener(*handlers)
    response: http.client.HTTPResponse = opener.open(request, timeout=timeout_s)
    return response


def _failure(status: int, body: bytes) -> QueryFailed:
    try:
        error = json.loads(body)["error"]
        message = " ".join(str(error["message"]).split())
        position = error.get("position")
    except (ValueError, KeyError, TypeError):
        return QueryFailed(f"The address answers {status}: is a collector there?", 1)
    if position:
        message = f"line {position['line']}, column {position['column']}: {message}"
    if status == 401:
        message = "The collector wants its query token: set TAXIMETER_QUERY_TOKEN."
    return QueryFailed(message, 2 if status in _WRONG_USAGE else 1)
