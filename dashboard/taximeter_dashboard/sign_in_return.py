"""Back to the page that was asked for, after the identity provider: Streamlit itself leads to the first page."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BACK: Final = "taximeter_back"
_LEAVES: Final = "/auth/login"
_RETURNS: Final = "/oauth2callback"
_LASTS_S: Final = 600
_LONGEST: Final = 2_000
"""Characters of an address that are kept: a cookie has no room for more."""


class ReturnAfterSignIn:
    """Keeps the page on which a person went to sign in, in a cookie, and leads back there."""

    def __init__(self, app: ASGIApp, pages: Collection[str]) -> None:
        self._app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path not in (_LEAVES, _RETURNS):
            await self._app(scope, receive, send)
            return
        if path == _LEAVES:
            asked = self._page_in(Headers(scope=scope).get("referer"))
        else:
            asked = self._page_in(unquote(HTTPConnection(scope).cookies.get(BACK, "")))

        async def with_way_back(message: Message) -> None:
            if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
                headers = MutableHeaders(scope=message)
                if path == _RETURNS and asked:
                    headers["location"] = asked
                headers.append("set-cookie", _cookie(asked if path == _LEAVES else "", scope))
            await send(message)

        await self._app(scope, receive, with_way_back)

    def _page_in(self, address: str | None) -> str:
        """Return path and query if they are of a page of ours, whatever the host says; else ""."""
        if not address or len(address) > _LONGEST:
            return ""
        found = urlsplit(address)
        if found.path.strip("/") not in self._pages:
            return ""
        path = "/" + found.path.strip("/")
        return f"{path}?{found.query}" if found.query and found.query.isprintable() else path


def _cookie(asked: str, scope: Scope) -> str:
    answer = Response()
    answer.set_cookie(
        BACK, quote(asked, safe=""), max_age=_LASTS_S if asked else 0, httponly=True,
        samesite="lax", secure=HTTPConnection(scope).url.scheme == "https",
    )  # fmt: skip
    return answer.headers["set-cookie"]
