"""Normalise and price: spans per CPU-second from ready Arrow to priced calls, beside decoding alone.

`python -m bench.normalise` takes the trace requests of the whole test corpus (every client, every
scenario), with fresh ids each round, through the store without sockets: decode, then ingest (dialect,
kind, tokens, insert, commit), then the roll-ups. `--statements` lists what the SQL costs most for.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.corpus.archive import scenarios

from taximeter_collector import sql_files
from taximeter_collector.derive.derive import derive_step
from taximeter_collector.ingest.decode import flatten, parse
from taximeter_collector.ingest.normalise import store_spans
from taximeter_collector.receivers.otlp_json import json_to_protobuf
from taximeter_collector.store.store import Store

ROUNDS, HOUR_NS = 5, 3600 * 10**9


def main() -> None:
    """Run the rounds and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--copies", type=int, default=3, help="of the corpus in a round")
    parser.add_argument("--statements", action="store_true")
    asked = parser.parse_args()
    corpus = requests()
    taken: dict[str, list[float]] = {"decode": [], "normalise": [], "price": []}
    spent: dict[str, float] = defaultdict(float)
    if asked.statements:
        _count_statements(spent)
    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder))) as store:
        for at in range(asked.rounds + 1):
            bodies = [again(body, at * asked.copies + copy) for copy in range(asked.copies) for body in corpus]  # fmt: skip
            seconds, spans = one_round(store, bodies, at + 1)
            if at == 0:  # the first one plans and loads
                spent.clear()
                continue
            for name, cpu in seconds.items():
                taken[name].append(spans / cpu)
    rate = {name: statistics.median(rates) for name, rates in taken.items()}
    both = 1 / (1 / rate["normalise"] + 1 / rate["price"])
    print(f"spans a round      {spans:>9,}")
    print(f"decode             {rate['decode']:>9,.0f} spans per CPU-second")
    print(f"normalise, insert  {rate['normalise']:>9,.0f}")
    print(f"derive, price      {rate['price']:>9,.0f}")
    print(f"normalise + price  {both:>9,.0f}")
    print(f"of decode alone    {both / rate['decode']:>9.3f}")
    for statement, cpu in sorted(spent.items(), key=lambda item: -item[1])[:15]:
        print(f"{cpu / asked.rounds * 1000:>8.1f} ms a round  {statement}")


def requests() -> list[bytes]:
    """Return the trace requests of the corpus as protobuf."""
    return [
        json_to_protobuf("traces", export.body) if export.is_json else export.body
        for scenario in scenarios().values()
        for export in scenario.exports
        if export.signal == "traces"
    ]


def again(body: bytes, number: int) -> bytes:
    """Return a request with other ids, hours later: the same traffic once more."""
    message = ExportTraceServiceRequest.FromString(body)
    for resource in message.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.trace_id = number.to_bytes(4, "big") + span.trace_id[4:]
                # Another hour: calls at the same time could be the same call.
                span.start_time_unix_nano += number * HOUR_NS
                span.end_time_unix_nano += number * HOUR_NS
                for pair in span.attributes:
                    if pair.key.endswith("response.id"):
                        pair.value.string_value += f"-{number}"
    return message.SerializeToString()


def one_round(store: Store, bodies: list[bytes], batch: int) -> tuple[dict[str, float], int]:
    """Return the CPU-seconds of each part and how many spans there were."""
    started = time.process_time()
    rows = flatten("traces", [parse("traces", body) for body in bodies])
    decoded = time.process_time()
    now = datetime.now(UTC)
    with store.cursor() as cursor:
        cursor.execute("begin")
        spans = store_spans(cursor, rows, store.files.day_for(now), batch, now)
        cursor.execute("commit")
        stored = time.process_time()
        derive_step(cursor, store.prices, batch - 1)
    ended = time.process_time()
    return {
        "decode": decoded - started,
        "normalise": stored - decoded,
        "price": ended - stored,
    }, spans


def _count_statements(spent: dict[str, float]) -> None:
    """Add up the CPU of every statement of our scripts, by its first line."""

    def run(cursor: duckdb.DuckDBPyConnection, script: str, params: Any) -> None:
        for statement in cursor.extract_statements(script):
            started = time.process_time()
            named = {name: params[name] for name in statement.named_parameters}
            cursor.execute(statement, named or None)
            lines = [line for line in statement.query.strip().splitlines() if line[:2] != "--"]
            spent[" ".join(lines)[:90]] += time.process_time() - started

    for module in list(sys.modules.values()):
        if getattr(module, "run_script", None) is sql_files.run_script and module is not sql_files:
            setattr(module, "run_script", run)


if __name__ == "__main__":
    main()
