"""Store exports and derive the roll-ups, as the collector does."""

from __future__ import annotations

from collections.abc import Iterable

from taximeter_collector.derive import derive_step, derived_batch
from taximeter_collector.ingest import Ingest
from taximeter_collector.otlp_json import json_to_protobuf
from taximeter_collector.store import Store

from .archive import Export, Scenario

Batches = tuple[int, int]
"""First and last group commit that hold a scenario."""


def as_protobuf(export: Export) -> bytes:
    """Return the export's body in the encoding that the store takes."""
    return json_to_protobuf(export.signal, export.body) if export.is_json else export.body


def replay(store: Store, exports: Iterable[Export]) -> None:
    """Store the exports in their order, then follow them to the end."""
    ingest = Ingest(store)
    _send(ingest, exports)
    ingest.close()
    follow(store)


def replay_all(store: Store, scenarios: Iterable[Scenario]) -> dict[str, Batches]:
    """Store scenario after scenario, derive once; return which commits hold which."""
    ingest, found = Ingest(store), {}
    for scenario in scenarios:
        before = last_batch(store)
        _send(ingest, scenario.exports)
        found[str(scenario)] = (before + 1, last_batch(store))
    ingest.close()
    follow(store)
    return found


def _send(ingest: Ingest, exports: Iterable[Export]) -> None:
    pending = [ingest.submit(export.signal, as_protobuf(export)) for export in exports]
    for future in pending:
        future.result(30)


def last_batch(store: Store) -> int:
    """Return the newest group commit of the store."""
    with store.cursor() as cursor:
        row = cursor.execute("select coalesce(max(batch), 0) from export_request").fetchone()
    return int(row[0]) if row else 0


def follow(store: Store) -> None:
    """Derive all that is stored and not yet derived."""
    with store.cursor() as cursor:
        at, following = -1, derived_batch(cursor)
        while at != following:
            at, following = following, derive_step(cursor, store.prices, following)
