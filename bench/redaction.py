"""What `[redaction]` costs at ingest: CPU time a span, off and with each built-in set, in turn.

`python bench/redaction.py` flattens groups of 512 spans of bench/traffic.py, applies the rules, and inserts
them into a store without sockets; median of the rounds. "Added" is the difference to the same round without.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from traffic import request_body

from taximeter.settings.settings import RedactionSettings
from taximeter_collector.ingest.decode import flatten, parse
from taximeter_collector.ingest.normalise import store_spans
from taximeter_collector.ingest.redaction import Redactor
from taximeter_collector.store.store import Store

GROUP = 512
SETS: tuple[tuple[str, ...], ...] = ((), ("secrets",), ("secrets", "pii"))


def main() -> None:
    """Measure and print a line a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, closing(Store(Path(folder))) as store:
        with store.cursor() as cursor:
            redactors = [Redactor(RedactionSettings(built_in=names), cursor) for names in SETS]
        rounds = [[insert(store, redactor) for redactor in redactors] for _ in range(asked.rounds + 1)]  # fmt: skip
    print(f"{'built_in':>12} {'a span':>9} {'added':>9}")
    for at, names in enumerate(SETS):
        whole = statistics.median(
            taken[at] for taken in rounds[1:]
        )  # the first one plans and loads
        added = statistics.median(taken[at] - taken[0] for taken in rounds[1:])
        print(f"{' + '.join(names) or 'off':>12} {whole * 1e3:>6.2f} ms {added * 1e3:>6.2f} ms")


def insert(store: Store, redactor: Redactor) -> float:
    """Return the CPU-seconds a span of storing one group."""
    parsed, now = [parse("traces", request_body(GROUP))], datetime.now(UTC)
    day = store.files.day_for(now)
    with store.cursor() as cursor:
        started = time.process_time()
        cursor.execute("begin")
        rows = redactor.apply(cursor, "traces", flatten("traces", parsed), lambda *_: None)
        store_spans(cursor, rows, day, 1, now)
        cursor.execute("commit")
        return (time.process_time() - started) / GROUP


if __name__ == "__main__":
    main()
