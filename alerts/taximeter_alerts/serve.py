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
from starlette.applications import Starlette

from taximeter.settings.exposure import is_loopback
from taximeter.settings.ports import (
    collector_url,
    live_port,
    part_tls,
    part_url,
    remove_ports,
    served_certificate,
    write_ports,
)
from taximeter.settings.settings import Settings, SettingsError
from taximeter.settings.tls import TlsFiles
from taximeter_alerts.amounts import say_count
from taximeter_alerts.api.api import Api
from taximeter_alerts.backtest.backtest_job import BacktestJob, backtest_command
from taximeter_alerts.digest.digests import Digests
from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.fleet import Publisher
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.incidents.silences import keep_file_silences
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.notifiers.channels import notifiers_of
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import RuleBook
from taximeter_alerts.scheduler import Scheduler
from taximeter_collector.client import ReadClient


def dashboard_url(settings: Settings, book: RuleBook) -> str:
    """Return where links lead: as configured, else to the dashboard of this data dir."""
    if book.dashboard_url:
        return book.dashboard_url
    port = live_port(settings.store.data_dir, "dashboard", "port")
    return part_url(settings, settings.dashboard.host, port or settings.dashboard.port)


def run(
    settings: Settings, book: RuleBook, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> None:
    """Evaluate, send and answer until SIGINT or SIGTERM. Raises AlreadyRunning, NewerFile, OSError."""
    host, data_dir = settings.alerts.host, settings.store.data_dir
    token = settings.collector.query_token
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
        outbox = Outbox(log, notifiers_of(book), clock)
        keep_file_silences(log, book, clock())
        dispatcher = Dispatcher(book, log, outbox, lambda: dashboard_url(settings, book))
        board = Board(book, log, dispatcher)
        evaluator = Evaluator(book, reader, board, clock)
        digests = Digests(book, reader, log, outbox, clock, lambda: dashboard_url(settings, book))

        fleet = Publisher(book, reader, lambda: evaluator.budgets, lambda: board.watermark, clock)

        def tick() -> None:
            evaluator.tick()
            fleet.tick()
            digests.tick()

        guard = None if is_loopback(host) else token
        backtests = BacktestJob(backtest_command(settings))
        api = Api(
            book, log, board, evaluator.health, outbox, clock, guard,
            lambda: evaluator.budgets, backtests,
        )  # fmt: skip
        hosts = ["127.0.0.1", "localhost", "::1", "[::1]"] if is_loopback(host) else ["*"]
        scheduler = Scheduler(book.every, tick, outbox.receivers, outbox.send_next)
        server = _Server(_uvicorn_config(api.app(hosts), part_tls(settings, host)))
        scheduler.start()
        try:
            asyncio.run(_serve(server, listener, settings, book))
        finally:
            remove_ports(data_dir, "alerts")
            backtests.stop()
            evaluator.stop()
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


def _uvicorn_config(app: Starlette, tls: TlsFiles | None) -> uvicorn.Config:
    return uvicorn.Config(
        app,
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
