"""Every page's queries, over HTTP from a real collector: p50 and p95 by page, at one or several sizes.

`python bench/query.py DIR [DIR …]` starts a collector on each directory (made by bench/history.py)
and asks what the pages ask, with the pages' own functions, for other windows and filters each round,
as the dashboard does when nothing is cached. The last column compares with the first directory.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ingest import start

from taximeter.settings.ports import read_ports
from taximeter_collector.client import ReadClient, plain_rows
from taximeter_dashboard import queries
from taximeter_dashboard.queries import RequestFilter, Row
from taximeter_dashboard.scope import RANGES, Scope, scope_of
from taximeter_dashboard.views.overview import HEADLINES, TOTALS

HEADLINE_NAMES = [headline.metric for headline in HEADLINES]


class Timed:
    """Answers as the dashboard's reader does, without its cache, and keeps the seconds."""

    def __init__(self, client: ReadClient) -> None:
        self.client = client
        self.seconds: list[float] = []

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[Row]:
        """Return the rows of a statement."""
        started = time.perf_counter()
        rows = plain_rows(self.client.query(sql, params))
        self.seconds.append(time.perf_counter() - started)
        return rows


def overview(reader: Timed, scope: Scope) -> None:
    """Ask what the Overview asks."""
    queries.totals(reader, scope, TOTALS)
    queries.totals(reader, scope.previous, TOTALS)
    queries.over_time(reader, scope, HEADLINE_NAMES)
    queries.over_time(reader, scope.previous, HEADLINE_NAMES)
    queries.over_time_by(reader, scope, "cost_usd", "model")
    queries.over_time(reader, scope, ["loop_length_p99", "loop_length_p95", "loop_length_p50"])
    queries.failures_by_cause(reader, scope)
    queries.by_agent(reader, scope)


def requests_page(reader: Timed, scope: Scope) -> None:
    """Ask what Requests asks: newest, dearest, a search."""
    queries.request_page(reader, scope, RequestFilter(), 1, 50)
    queries.request_page(reader, scope, RequestFilter(sort="cost"), 1, 50)
    queries.request_page(reader, scope, RequestFilter(text="user-17", status="Errors"), 1, 50)


def request_view(reader: Timed, scope: Scope) -> None:
    """Ask what the page of one request asks."""
    oldest = plain_rows(reader.client.query("select min(start_time) as oldest from requests"))
    age = scope.end - oldest[0]["oldest"]
    found = reader.client.query(
        "select request_id from requests where start_time between $first and $last limit 1",
        {"first": scope.end - age, "last": scope.end - random.random() * age},
    )
    for row in plain_rows(found):
        one = queries.request(reader, row["request_id"]) or {}
        window, name = queries.received(one), one["request_id"]
        spans = queries.spans_of(reader, name, window)
        queries.span_detail(reader, name, spans[0]["span_id"], window)
        queries.call_detail(reader, name, spans[-1]["span_id"], spans[-1]["start_time"])


def setup(reader: Timed, scope: Scope) -> None:
    """Ask what Set-up and the filter bar ask."""
    queries.received_by_dialect(reader, scope.end - timedelta(hours=1))
    queries.totals(reader, scope, ["priced_ratio", "cost_usd", "tokens"])
    queries.unpriced_models(reader)
    queries.filter_options(reader, scope.end - timedelta(days=30))
    queries.has_any_request(reader)


PAGES: dict[str, Callable[[Timed, Scope], None]] = {
    "Overview": overview,
    "Requests": requests_page,
    "Request": request_view,
    "Set-up, filters": setup,
}


def main() -> None:
    """Measure every directory and print a line a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dirs", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=10)
    asked = parser.parse_args()
    first: dict[tuple[str, str], float] = {}
    print(f"{'store':>12} {'page':>16} {'window':>7} {'queries':>8} {'p50':>9} {'p95':>9} {'to first':>9}")  # fmt: skip
    for data_dir in asked.dirs:
        collector = start(data_dir)
        try:
            port = read_ports(data_dir)["collector"]["http_port"]
            reader = Timed(ReadClient(f"http://127.0.0.1:{port}", None, 60))
            count = plain_rows(reader.client.query("select count(*) as n from spans"))[0]["n"]
            for window in ("24h", "7d", "30d"):
                for page, ask in PAGES.items():
                    p50, p95, number = measure(reader, ask, window, asked.rounds)
                    ratio = p95 / first.setdefault((page, window), p95)
                    print(f"{count:>12,} {page:>16} {window:>7} {number:>8} {p50 * 1e3:>6.0f} ms "
                          f"{p95 * 1e3:>6.0f} ms {ratio:>9.2f}", flush=True)  # fmt: skip
        finally:
            collector.terminate()
            collector.wait(120)


def measure(
    reader: Timed, ask: Callable[[Timed, Scope], None], window: str, rounds: int
) -> tuple[float, float, int]:
    """Return p50 and p95 of the seconds of one query, and how many queries there were."""
    now = datetime.now(UTC)
    ask(reader, scope_of(now, window))
    reader.seconds.clear()
    for at in range(rounds):
        length, _ = RANGES[window]
        filters = {"agent": [f"support-desk-{at % 7}"]} if at % 3 == 2 else {}
        earlier = now - timedelta(minutes=7 * at) if length < timedelta(days=30) else now
        ask(reader, scope_of(earlier, window, filters=filters))
    taken = sorted(reader.seconds)
    return statistics.median(taken), taken[int(len(taken) * 0.95)], len(taken)


if __name__ == "__main__":
    main()
