"""The gate before the page where tokens are set: a form, a signed cookie, and nothing else without one."""

from __future__ import annotations

import html
import time
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import parse_qs, quote, unquote

import anyio
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from taximeter_dashboard.sign_in import COOKIE, LASTS_S, Access

_FORM: Final = Template((Path(__file__).parent / "sign_in.html").read_text(encoding="utf-8"))
_OPEN_PATHS: Final = ("/healthz", "/_stcore/health")
_OPEN_FOLDER: Final = "/app/static/"
_MAX_FORM_BYTES: Final = 8_192
_WRONG_TOKEN_S: Final = 0.5
"""How long a wrong token waits: guessing must not be quick."""


class SignIn:
    """Lets those through who have a cookie of ours; answers others with the form."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        is_tls: bool,
        clock: Callable[[], float] = time.time,
        delay_s: float = _WRONG_TOKEN_S,
    ) -> None:
        self._app, self._access, self._is_tls = app, access, is_tls
        self._clock, self._delay_s = clock, delay_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if scope["type"] == "http" and path in ("/sign-in", "/sign-out"):
            answer = await self._answered(Request(scope, receive))
            await answer(scope, receive, send)
            return
        is_open = path in _OPEN_PATHS or (path.startswith(_OPEN_FOLDER) and ".." not in path)
        # Read as Streamlit reads them: other services of this host may set cookies that are not well-formed.
        cookie = HTTPConnection(scope).cookies.get(COOKIE)
        if is_open or self._access.opened(cookie, self._clock()) is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await _refusal(scope)(scope, receive, send)

    async def _answered(self, request: Request) -> Response:
        if request.url.path == "/sign-out":
            answer: Response = RedirectResponse("/sign-in", 303)
            answer.delete_cookie(
                COOKIE, httponly=True, samesite="lax", secure=self._is_secure(request)
            )
            return answer
        if request.method != "POST":
            return _form(_own_path(request.query_params.get("next")), "")
        form = await _fields(request)
        back = _own_path(form.get("next"))
        role = self._access.role_of(form.get("token", ""))
        if role is None:
            await anyio.sleep(self._delay_s)
            return _form(back, "This is no token of this dashboard.", 403)
        answer = RedirectResponse(back, 303)
        answer.set_cookie(
            COOKIE, self._access.sealed(role, self._clock()), max_age=LASTS_S, httponly=True,
            samesite="lax", secure=self._is_secure(request),
        )  # fmt: skip
        return answer

    def _is_secure(self, request: Request) -> bool:
        # A proxy that speaks TLS says so (uvicorn believes those that it was told to trust).
        return self._is_tls or request.url.scheme == "https"


def _refusal(scope: Scope) -> Response:
    wants_page = "text/html" in (Headers(scope=scope).get("accept") or "")
    if scope["method"] != "GET" or not wants_page:
        return PlainTextResponse("Sign in first: open the dashboard in a browser.", 401)
    query = scope["query_string"].decode("latin-1")
    asked = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/sign-in?next={quote(asked, safe='')}", 303)


def _form(back: str, fault: str, status: int = 200) -> Response:
    text = _FORM.substitute(back=html.escape(back), fault=html.escape(fault))
    return HTMLResponse(text, status, headers={"cache-control": "no-store"})


async def _fields(request: Request) -> dict[str, str]:
    body = b""
    try:
        async for piece in request.stream():
            body += piece
            if len(body) > _MAX_FORM_BYTES:
                return {}
    except ClientDisconnect:
        return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0].strip() for name, values in fields.items()}


def _own_path(text: str | None) -> str:
    r"""Return where to go after the form: a path of ours, and no other site's address.

    >>> [_own_path(text) for text in ("/costs?range=7d", "//evil", "/\\evil", "https://evil", None)]
    ['/costs?range=7d', '/', '/', '/', '/']
    """
    path = text or "/"
    plain = unquote(path)
    is_ours = plain.startswith("/") and not plain.startswith(("//", "/\\", "/sign-"))
    return path if is_ours and plain.isprintable() else "/"
