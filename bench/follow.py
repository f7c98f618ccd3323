"""A step of the roll-ups by its size, over a month of files, and on a store with a long history: CPU-seconds.

`python bench/follow.py [DIR]` stores requests of bench/traffic.py without sockets and derives each group
in one step; median of the rounds. The month's 30 files are read as the follower does, and all of them, in
turn. With the directory of a store from bench/history.py, the smallest step is measured there too.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from traffic import request_body

from taximeter_collector.derive.derive import derive_step, derived_batch
from taximeter_collector.ingest.decode import flatten, parse
from taximeter_collector.ingest.normalise import store_spans
from taximeter_collector.store.store import Store

REQUEST = 512
SIZES = (512, 8_192, 32_768)


def main() -> None:
    """Measure and print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("history", type=Path, nargs="?", help="a store that bench/history.py made")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(f"{'store':>12} {'spans a step':>13} {'insert':>9} {'step':>9} {'a span':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            with closing(Store(Path(folder) / str(size), memory="2GB")) as store:
                show("empty", size, measure(store, size, asked.rounds))
        with closing(Store(Path(folder) / "month", memory="2GB")) as store:
            for age in range(30):
                store.files.day_for(datetime.now(UTC) - timedelta(days=age))
            show("30 files", SIZES[0], measure(store, SIZES[0], asked.rounds))
            show("all read", SIZES[0], measure(store, SIZES[0], asked.rounds, reads_all=True))
    if asked.history:
        with closing(Store(asked.history, memory="2GB")) as store:
            with store.read() as cursor:
                row = cursor.execute("select count(*) from span").fetchone()
            show(f"{row[0] if row else 0:,}", SIZES[0], measure(store, SIZES[0], asked.rounds))


def measure(
    store: Store, size: int, rounds: int, *, reads_all: bool = False
) -> tuple[float, float]:
    """Return the median CPU-seconds of inserting ``size`` spans and of the step that follows them."""
    taken: list[tuple[float, float]] = []
    since = (lambda _batch: "span") if reads_all else store.files.spans_since
    for _ in range(rounds + 1):
        rows = flatten("traces", [parse("traces", request_body(REQUEST)) for _ in range(size // REQUEST)])  # fmt: skip
        now = datetime.now(UTC)
        with store.cursor() as cursor:
            batch, day = derived_batch(cursor) + 1, store.files.day_for(now)
            started = time.process_time()
            cursor.execute("begin")
            store_spans(cursor, rows, day, batch, now)
            cursor.execute("commit")
            stored = time.process_time()
            derive_step(cursor, store.prices, batch - 1, spans_since=since)
            taken.append((stored - started, time.process_time() - stored))
    inserts, steps = zip(*taken[1:], strict=True)  # the first one loads
    return statistics.median(inserts), statistics.median(steps)


def show(store: str, size: int, taken: tuple[float, float]) -> None:
    """Print one line."""
    insert, step = taken
    print(f"{store:>12} {size:>13,} {insert:>7.2f} s {step:>7.2f} s {step / size * 1e6:>6.0f} µs", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
