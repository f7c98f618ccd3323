"""The dashboard as one ASGI application: Streamlit with strict headers and compressed bundles."""

from __future__ import annotations

import base64
import gc
import gzip
import hashlib
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import streamlit as st
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.config import set_option

from taximeter.settings.settings import DashboardSettings
from taximeter_dashboard.sign_in import access_of
from taximeter_dashboard.sign_in_page import SignIn
from taximeter_dashboard.sign_in_return import ReturnAfterSignIn

HERE: Final = Path(__file__).parent
BUNDLES: Final = Path(st.__file__).parent / "static"
PAGES: Final = frozenset(
    {
        "",
        "requests",
        "request",
        "agents",
        "costs",
        "cache",
        "errors",
        "people",
        "explore",
        "live",
        "alerts",
        "setup",
    }
)
FOREVER: Final = "public, immutable, max-age=31536000"


def page_html() -> str:
    """Return Streamlit's page, told where its server is, with our font ahead of its own.

    Without the address the page asks below its own path first, and a deep link starts with 404s.
    """
    html = (BUNDLES / "index.html").read_text(encoding="utf-8")
    start = "<script>window.__streamlit={BACKEND_BASE_URL:location.origin}</script>"
    font = '<link rel="preload" href="/app/static/inter.woff2" as="font" type="font/woff2" crossorigin>'
    html = re.sub(r'<link\s+rel="preload"[^>]*SourceSans[^>]*>', font, html)
    html = html.replace("<title>Streamlit</title>", "<title>taximeter</title>")
    # Relative addresses are meant from the root: a page of ours is at most one level deep.
    return html.replace("./favicon.png", "/app/static/favicon.svg").replace(
        "<head>", f"<head>{start}", 1
    )


def content_security_policy(html: str) -> str:
    """Return the policy: our own files only, and the inline scripts of the page by hash."""
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts)
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: {hashes}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' ws: wss:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        )
    )


class OwnPage:
    """Answers the addresses of our pages with `page_html`."""

    def __init__(self, app: ASGIApp, html: str) -> None:
        self._app, self._html = app, html

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_page = scope["type"] == "http" and scope["path"].strip("/") in PAGES
        if not is_page or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        headers = {"cache-control": "no-cache"}
        await HTMLResponse(self._html, headers=headers)(scope, receive, send)


class StrictHeaders:
    """Adds the security headers to every answer, and a long life to our fonts."""

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"same-origin"),
            (b"x-frame-options", b"SAMEORIGIN"),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [*message["headers"], *self._headers]
                if scope["path"].endswith(".woff2"):
                    headers = [h for h in headers if h[0].lower() != b"cache-control"]
                    headers.append((b"cache-control", FOREVER.encode()))
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, with_headers)


class CompressedBundles:
    """Answers with the gzipped copy of Streamlit's scripts and styles, which it sends raw."""

    def __init__(self, app: ASGIApp, directory: Path) -> None:
        self._app, self._directory = app, directory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._compressed(scope) if scope["type"] == "http" else None
        if file is None:
            await self._app(scope, receive, send)
            return
        is_script = file.name.endswith(".js.gz")
        headers = {
            "content-encoding": "gzip",
            "cache-control": FOREVER,
            "vary": "accept-encoding",
        }
        kind = "text/javascript" if is_script else "text/css"
        await FileResponse(file, media_type=kind, headers=headers)(scope, receive, send)

    def _compressed(self, scope: Scope) -> Path | None:
        path: str = scope["path"]
        accepted = dict(scope["headers"]).get(b"accept-encoding", b"")
        if "/static/" not in path or not path.endswith((".js", ".css")) or b"gzip" not in accepted:
            return None
        file = self._directory / (path.rsplit("/", 1)[1] + ".gz")
        return file if file.is_file() else None


def compress_bundles(directory: Path) -> None:
    """Write a gzipped copy of each bundle once for this version of Streamlit."""
    directory.mkdir(parents=True, exist_ok=True)
    for source in (*BUNDLES.rglob("*.js"), *BUNDLES.rglob("*.css")):
        target = directory / f"{source.name}.gz"
        if target.exists():
            continue
        # Level 6: half the time of 9 for one percent more bytes.
        draft = target.with_suffix(f".{os.getpid()}")
        draft.write_bytes(gzip.compress(source.read_bytes(), 6))
        draft.replace(target)


def build_app(cache_dir: Path, settings: DashboardSettings, *, is_tls: bool) -> st.App:
    """Return the application; `cache_dir` holds the compressed bundles."""
    access = access_of(settings)
    if settings.oidc_file is not None:
        set_option("secrets.files", [str(settings.oidc_file)])
    directory = cache_dir / f"streamlit-{st.__version__}"
    html = page_html()

    @asynccontextmanager
    async def lifespan(app: st.App) -> AsyncIterator[Mapping[str, Any] | None]:
        await anyio.to_thread.run_sync(_warm)
        async with anyio.create_task_group() as tasks:
            # Beside the serving: until a copy is there, the bundle goes out as it is.
            tasks.start_soon(anyio.to_thread.run_sync, compress_bundles, directory)
            yield {}

    return st.App(
        HERE / "app.py",
        lifespan=lifespan,  # type: ignore[arg-type]
        routes=[Route("/healthz", _healthz)],
        middleware=[
            Middleware(StrictHeaders, policy=content_security_policy(html)),
            *([Middleware(SignIn, access=access, is_tls=is_tls)] if access.tokens else []),
            *([Middleware(ReturnAfterSignIn, pages=PAGES)] if access.people else []),
            Middleware(OwnPage, html=html),
            Middleware(CompressedBundles, directory=directory),
        ],
    )


async def _healthz(request: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


def _warm() -> None:
    """Import what the first page needs before the first person waits for it."""
    import pandas  # noqa: F401  (Streamlit's charts import it lazily)

    from taximeter_dashboard import charts, components, frame, queries, trace  # noqa: F401

    gc.collect()
    gc.freeze()  # Streamlit collects after every run; the imported world need not be searched


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
