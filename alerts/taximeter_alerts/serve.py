"""Puts the parts together and serves until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

import uvicorn
from starlette.types import ASGIApp

from taximeter.settings.exposure import is_loopback
from taximeter.settings.ports import (
    collector_url,
    part_tls,
    part_url,
    remove_ports,
    served_certificate,
    write_ports,
)
from taximeter.settings.settings import Settings, SettingsError
from taximeter.settings.tls import TlsFiles
from taximeter_alerts.amounts import say_count
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.rules.rules_on_disk import RulesOnDisk
from taximeter_alerts.scheduler import Scheduler
from taximeter_alerts.service import Service
from taximeter_collector.client import ReadClient


def run(settings: Settings, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Evaluate, send and answer until SIGINT or SIGTERM.

    Raises RulesError, AlreadyRunning, NewerFile, OSError.
    """
    host, data_dir = settings.alerts.host, settings.store.data_dir
    token = settings.collector.query_token
    disk = RulesOnDisk(settings)
    written = disk.read()
    disk.check(written.text)
    if not is_loopback(host) and token is None:
        raise SettingsError(
            f"alerts.host = {host} would let anybody on the network read and silence alerts:"
            " set TAXIMETER_QUERY_TOKEN, or stay on 127.0.0.1."
        )
    reader = ReadClient(collector_url(settings), token, served=served_certificate(settings))
    with (
        contextlib.closing(NotificationLog(data_dir)) as log,
        contextlib.closing(reader),
        contextlib.closing(_listen(host, settings.alerts.port)) as listener,
    ):
        service = Service(settings, disk, written, log, reader, clock)

        def tick() -> None:
            if service.take_up_rules():
                scheduler.follow(service.book.every, service.outbox.receivers)
            service.tick()

        scheduler = Scheduler(
            service.book.every, tick, service.outbox.receivers, service.outbox.send_next
        )
        server = _Server(_uvicorn_config(service.app, part_tls(settings, host)))
        scheduler.start()
        try:
            asyncio.run(_serve(server, listener, settings, service.book))
        finally:
            remove_ports(data_dir, "alerts")
            service.stop()
            scheduler.stop()


class _Server(uvicorn.Server):
    """A uvicorn that leaves the signals to us: its own way ends the process before we tidy up."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(
    server: uvicorn.Server, listener: socket.socket, settings: Settings, book: RuleBook
) -> None:
    def stop() -> None:
        server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    host, port = listener.getsockname()[:2]
    _announce(settings, host, port, book)
    await server.serve(sockets=[listener])


def _uvicorn_config(app: ASGIApp, tls: TlsFiles | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        interface="asgi3",
        ssl_certfile=None if tls is None else tls.certificate,
        ssl_keyfile=None if tls is None else tls.key,
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=5,
    )


def _announce(settings: Settings, host: str, port: int, book: RuleBook) -> None:
    write_ports(settings.store.data_dir, "alerts", port=port, pid=os.getpid())
    receivers: Mapping[str, object] = {r.name: r.channel for r in book.receivers}
    to = ", ".join(receivers) or "no receiver yet, alerts show on the page"
    print(
        f"taximeter alerts: {say_count(len(book.names), 'rule')}, {to}; API on {part_url(settings, host, port)}",
        flush=True,
    )


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {host}:{port}: {error.strerror}; set TAXIMETER_ALERTS_PORT"
        ) from None
    return listener
