"""The collector: config → store → writer → receivers → serve until signal."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import closing
from typing import Final

from taximeter.pricing import PriceFileError
from taximeter.settings.settings import Settings, SettingsError
from taximeter_collector.config import read_settings
from taximeter_collector.derive.deriver import Deriver
from taximeter_collector.derive.verify_api import Verifier
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.prices.reprice_api import Repricer
from taximeter_collector.receivers.grpc_receiver import GrpcReceiver
from taximeter_collector.receivers.http_app import build_app
from taximeter_collector.retention.retention import Retention
from taximeter_collector.server import serve
from taximeter_collector.store.directory_lock import UnusableStoreError
from taximeter_collector.store.store import StoreError, open_store
from taximeter_collector.transfer.stream import Sender

FINISH_S: Final = 2.0
"""With the requests that still run (10 s) and the last checkpoint a stop takes 15 s at most."""


def run(settings: Settings) -> None:
    """Run a collector until a signal stops it; closing goes backwards, so nothing is left."""
    data_dir, edges = settings.store.data_dir, settings.collector
    with (
        closing(open_store(settings)) as store,
        closing(Deriver(store, finish_s=FINISH_S)) as rollups,
        closing(Retention(store, rollups, settings.store)),
        closing(Ingest(store, on_commit=rollups.notify, redaction=settings.redaction)) as ingest,
    ):

        async def receive() -> None:
            tasks = Verifier(store, rollups), Repricer(store, rollups)
            app = build_app(edges, ingest, store, rollups, *tasks, Sender(store))
            grpc = GrpcReceiver(ingest, edges.max_request_mib << 20, edges.ingest_token, edges.tls)
            await serve(edges, data_dir, app, grpc)

        asyncio.run(receive())


def main() -> int:
    """Return the exit code: 0 after a clean stop, 2 for what another start would not help, 1 otherwise."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        run(read_settings())
    except (SettingsError, PriceFileError, UnusableStoreError) as error:
        print(f"taximeter collector: {error}", file=sys.stderr)
        return 2
    except (StoreError, OSError) as error:
        print(f"taximeter collector: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
