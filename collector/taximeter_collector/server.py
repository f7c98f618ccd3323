"""Opens both ports, serves until a signal comes, then drains: nothing accepted is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette

from taximeter.settings.ports import remove_ports, url_of, write_ports
from taximeter.settings.settings import CollectorSettings
from taximeter.settings.tls import TlsFiles
from taximeter_collector.query.query_watch import WATCH
from taximeter_collector.receivers.grpc_receiver import GrpcReceiver
from taximeter_collector.receivers.slow_clients import PatientProtocol

logger: Final = logging.getLogger(__name__)
DRAIN_S: Final = 10
_BACKLOG: Final = 1024


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the collector really listens."""

    host: str
    http_port: int
    grpc_port: int
    scheme: str = "http"


class _Uvicorn(uvicorn.Server):
    """A uvicorn that leaves the signals to us: two servers stop together here."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(
    settings: CollectorSettings,
    data_dir: Path,
    app: Starlette,
    grpc: GrpcReceiver,
    *,
    until: Callable[[], Awaitable[None]] | None = None,
    ready: Callable[[Addresses], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM (or `until` returns), then let running requests end.

    Raises OSError if a port can't be had.
    """
    listener = _listen(settings.host, settings.http_port)
    http_port = listener.getsockname()[1]
    try:
        grpc_port = await grpc.start(settings.host, settings.grpc_port)
    except OSError:
        listener.close()
        raise
    server = _Uvicorn(_uvicorn_config(app, settings.tls))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    addresses = Addresses(
        settings.host, http_port, grpc_port, "http" if settings.tls is None else "https"
    )
    try:
        write_ports(
            data_dir, "collector", http_port=http_port, grpc_port=grpc_port, pid=os.getpid()
        )
    except OSError as error:  # a full disk: what is stored is served all the same
        logger.warning("others can't be told where this collector listens: %s", error)
    (ready or _announce)(addresses)
    try:
        await (until or _signal)()
    finally:
        server.should_exit = True
        await asyncio.gather(serving, grpc.stop(DRAIN_S), _stop_queries(serving))
        remove_ports(data_dir, "collector")


async def _stop_queries(serving: asyncio.Task[None]) -> None:
    """Stop what is asked until the server has ended: a query must not hold up the end."""
    while not serving.done():
        WATCH.stop_all()
        await asyncio.wait([serving], timeout=0.1)


def _uvicorn_config(app: Starlette, tls: TlsFiles | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=PatientProtocol,
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        ssl_ca_certs=str(tls.client_ca) if tls and tls.client_ca else None,
        ssl_cert_reqs=ssl.CERT_REQUIRED if tls and tls.client_ca else ssl.CERT_NONE,
        log_config=None,
        # Below that every malformed request of a port scan would be a line.
        log_level="error",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_S,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol by name: only then asyncio sets TCP_NODELAY, without which an answer takes 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(
            f"HTTP cannot listen on {host}:{port} ({error.strerror}): stop what has that port, or"
            " choose another with TAXIMETER_COLLECTOR_HTTP_PORT"
        ) from None
    listener.setblocking(False)
    return listener


async def _signal() -> None:
    """Return when the process is asked to stop."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    await asked.wait()


def _announce(addresses: Addresses) -> None:
    print(
        f"taximeter collector: OTLP/HTTP and queries on {url_of(addresses.host, addresses.http_port, addresses.scheme)}"
        f", OTLP/gRPC on {addresses.host}:{addresses.grpc_port}",
        flush=True,
    )
