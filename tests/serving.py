"""A real collector in this process: receivers, ingest and follower over a store, on free ports."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette
from tests.patience import PATIENCE_S, wait_until

from taximeter.settings.ports import live_port
from taximeter.settings.settings import CollectorSettings, load_settings
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify_api import Verifier
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.prices.reprice_api import Repricer
from taximeter_collector.receivers.grpc_receiver import GrpcReceiver
from taximeter_collector.receivers.http_app import build_app
from taximeter_collector.server import Addresses, serve
from taximeter_collector.store.store import Store
from taximeter_collector.transfer.stream import Sender

Build = Callable[[CollectorSettings], tuple[Starlette, GrpcReceiver]]


@dataclass(frozen=True, slots=True)
class Collector:
    """What runs, and where it answers."""

    addresses: Addresses
    ingest: Ingest
    rollups: Deriver

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.addresses.http_port}"


@contextmanager
def collector(folder: Path) -> Iterator[tuple[Store, Deriver, Ingest]]:
    """Run the parts of a collector on ``folder``, without its ports."""
    with (
        closing(Store(folder)) as store,
        closing(Deriver(store, settle_s=0.01)) as rollups,
        closing(Ingest(store, on_commit=rollups.notify)) as ingest,
    ):
        yield store, rollups, ingest


@contextmanager
def collecting(
    store: Store, *, settle_s: float = 0.01, queue_bytes: int = 1 << 27
) -> Iterator[Collector]:
    """Serve a real collector over ``store``; when it ends, all that came is followed."""
    with (
        closing(Deriver(store, settle_s=settle_s)) as rollups,
        closing(Ingest(store, on_commit=rollups.notify, queue_bytes=queue_bytes)) as ingest,
    ):

        def build(settings: CollectorSettings) -> tuple[Starlette, GrpcReceiver]:
            tasks = Verifier(store, rollups), Repricer(store, rollups), Sender(store)
            app = build_app(settings, ingest, store, rollups, *tasks)
            return app, GrpcReceiver(ingest, settings.max_request_mib << 20, None)

        with serving(store.data_dir, build) as addresses:
            yield Collector(addresses, ingest, rollups)


@contextmanager
def collector_process(data_dir: Path, log: Path | None = None, **environment: str) -> Iterator[str]:
    """Run `python -m taximeter_collector` on ``data_dir`` and free ports; yield its URL.

    What it writes goes into the file ``log`` where one is given.
    """
    where = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0",
             "TAXIMETER_STORE_DATA_DIR": str(data_dir)}  # fmt: skip
    with log.open("wb") if log else nullcontext() as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "taximeter_collector"], cwd=data_dir,
            env=os.environ | where | environment, stdout=out, stderr=out and subprocess.STDOUT
        )  # fmt: skip

    def answers() -> bool:
        assert process.poll() is None, "the collector ended"
        return live_port(data_dir, "collector", "http_port") is not None

    try:
        wait_until(answers, "a collector's port")
        yield f"http://127.0.0.1:{live_port(data_dir, 'collector', 'http_port')}"
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def serving(data_dir: Path, build: Build, **environment: str) -> Iterator[Addresses]:
    """Serve the edges that ``build`` makes, on a thread of their own; yield where they answer."""
    free = {"TAXIMETER_COLLECTOR_HTTP_PORT": "0", "TAXIMETER_COLLECTOR_GRPC_PORT": "0"}
    settings = load_settings(environ=free | environment, data_dir=data_dir).collector
    loop, stopping, ready = asyncio.new_event_loop(), asyncio.Event(), Future[Addresses]()

    async def until() -> None:
        await stopping.wait()

    async def run() -> None:
        app, grpc = build(settings)
        await serve(settings, data_dir, app, grpc, until=until, ready=ready.set_result)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    try:
        yield ready.result(timeout=PATIENCE_S)
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(timeout=PATIENCE_S)
        assert not thread.is_alive()
        loop.close()
