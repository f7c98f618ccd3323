"""One evaluation of 8 rules on 10,000 series, by its parts, against a bare query of the same rows.

`python bench/evaluate.py` fills a store in a file (a request of each series in every fifth minute of a day, in every hour
of the 14 days before), evaluates minutes by the functions of the running process, and prints the median of each part.
Then everything breaches at once (`--breach`): it prints each minute of that, and what one receiver is told.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import duckdb

from taximeter_alerts.evaluator import Evaluator
from taximeter_alerts.incidents.board import Board
from taximeter_alerts.incidents.dispatcher import Dispatcher
from taximeter_alerts.judge.judging import find_all, metrics_of
from taximeter_alerts.judge.live_source import LiveSource
from taximeter_alerts.judge.windows import Shape, shapes_of
from taximeter_alerts.notification_log import NotificationLog
from taximeter_alerts.outbox.delivery import Delivery
from taximeter_alerts.outbox.notice import Notice
from taximeter_alerts.outbox.outbox import Outbox
from taximeter_alerts.rules.book import Rule, RuleBook
from taximeter_alerts.rules.rules_file import parse_rules

END = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
RULES = """\
version: 1
defaults: false
rules:
  - {name: cost, watch: cost_per_request_usd, by: agent_name, when: spike 2x, at_least: {impact: $1}}
  - {name: errors, watch: error_rate, by: agent_name, when: spike}
  - {name: loops, watch: loop_length_mean, by: agent_name, when: spike 1.5x}
  - {name: cache, watch: cache_hit_ratio, by: agent_name, when: drop 50%}
  - {name: tokens, watch: tokens_per_request, by: agent_name, when: spike 2x}
  - {name: calls, watch: call_error_rate, by: agent_name, when: spike}
  - {name: dear, watch: cost_per_request_usd, by: agent_name, when: above $5}
  - {name: quiet, watch: requests, by: agent_name, when: silent}
"""
BREACHING = RULES.replace(
    "version: 1\n", "version: 1\nsettle: 0s\nnotify: {ops: {slack: env:HOOK}}\n"
).replace(
    "error_rate, by: agent_name, when: spike",
    "error_rate, by: agent_name, when: spike, severity: critical",
    1,
)
"""With a receiver, and the rule on failures critical as the default one is."""
FILL = """insert into usage_minute by name
select $start + to_minutes((i * $every)::integer) as minute, 'agent-' || a as agent_name, 'prod' as environment,
    1 as requests, (hash(a, i) % 50 = 0)::integer as failed_requests, 0 as unpriced_requests,
    50_000_000_000 + hash(i, a) % 9_000_000_000 as request_cost_pico, 50_000_000_000 as cost_pico,
    4 + hash(a + i) % 3 as loop_length_sum, 1 as loop_length_requests, 4 as calls, 0 as failed_calls, 0 as unseen_attempts,
    4000 as tokens, 4000 as priced_tokens, 3000 as hit_denominator_tokens, 2000 as hit_read_tokens
from range($series) s(a), range($number) m(i)"""


BREACH: Final = """insert into usage_minute by name
select $start + to_minutes(i::integer) as minute, 'agent-' || a as agent_name, 'prod' as environment,
    30 as requests, 24 as failed_requests, 0 as unpriced_requests, 30 * 9_000_000_000_000 as request_cost_pico,
    30 * 9_000_000_000_000 as cost_pico, 1800 as loop_length_sum, 30 as loop_length_requests, 120 as calls, 90 as failed_calls,
    0 as unseen_attempts, 9_000_000 as tokens, 9_000_000 as priced_tokens, 900_000 as hit_denominator_tokens,
    0 as hit_read_tokens
from range($series) s(a), range($number) m(i)"""


class Store:
    """The roll-up in a file, asked as the collector is."""

    def __init__(self, folder: Path, series: int) -> None:
        self._connection = duckdb.connect(folder / "rollup.duckdb", config={"threads": 1})
        self._connection.execute("set timezone = 'UTC'")
        tables = files("taximeter_collector") / "sql" / "tables"
        for name in ("usage_minute", "request"):
            self._connection.execute((tables / f"{name}.sql").read_text(encoding="utf-8"))
        self._connection.execute("create view requests as select * from request")
        day, past = END - timedelta(days=1), END - timedelta(days=15)
        for start, every, number in ((past, 60, 14 * 24), (day, 5, 288)):
            asked = {"start": start, "every": every, "number": number, "series": series}
            self._connection.execute(FILL, asked)
        self._connection.execute("checkpoint")
        # What a cause and a chart ask for; nothing is in them.
        for name in ("call", "tool_call", "agent_run"):
            self._connection.execute((tables / f"{name}.sql").read_text(encoding="utf-8"))
            self._connection.execute(f"create view {name}s as select * from {name}")
        self.version = 0
        self.asked_s = 0.0

    def status(self) -> dict[str, Any]:
        """Return a new version each time: a busy system."""
        self.version += 1
        return {"data_version": self.version}

    def breach(self, series: int, minutes: int) -> None:
        """Let every series fail, loop, cost and miss its cache in the minutes that follow."""
        self._connection.execute(BREACH, {"start": END, "series": series, "number": minutes})

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any:
        """Return the rows of a statement."""
        began = time.process_time()
        table = self._connection.sql(sql, params=params or {}).to_arrow_table()
        self.asked_s += time.process_time() - began
        return table

    def bare(self, at: datetime) -> float:
        """Return the CPU-seconds of adding up the rows that an evaluation reads, by series."""
        began = time.process_time()
        self._connection.execute(
            "select agent_name, sum(requests), sum(request_cost_pico) from usage_minute"
            " where minute >= $start and minute < $end group by all",
            {"start": at - timedelta(days=1), "end": at},
        ).fetchall()
        return time.process_time() - began


@dataclass
class Parts:
    """CPU-seconds by part, one a round."""

    asking: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    judging: list[float] = field(default_factory=list)
    recording: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def whole(self) -> float:
        """The median of an evaluation."""
        parts = (self.asking, self.reading, self.judging, self.recording)
        return sum(statistics.median(part) for part in parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--breach", action="store_true", help="only the minutes in which all breach"
    )
    asked = parser.parse_args()
    book = parse_rules(RULES, "alerts.yaml", {})
    clock: Callable[[], datetime] = lambda: END
    if asked.breach:
        with tempfile.TemporaryDirectory() as folder:
            breach(Path(folder), asked.series, asked.rounds)
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), asked.series)
        filled_mb = resident_mb()
        log = NotificationLog(Path(folder))
        outbox = Outbox(log, {}, clock)
        board = Board(book, log, Dispatcher(book, log, outbox, lambda: None))
        history_s, first_s, parts = measure(store, book, board, asked.rounds)
        log.close()
    print(
        f"{asked.series:,} series x {len(book.rules)} rules, {asked.rounds} evaluations, CPU-seconds"
    )
    for name in ("asking", "reading", "judging", "recording"):
        print(f"{name:>12} {statistics.median(getattr(parts, name)):6.2f}")
    bare = statistics.median(parts.bare)
    print(
        f"{'evaluation':>12} {parts.whole:6.2f} = {parts.whole / bare:.1f} x a bare query ({bare:.3f})"
    )
    print(f"{'first':>12} {first_s:6.2f} the first evaluation, which stores each state")
    print(f"{'past':>12} {history_s:6.2f} each time it is read")
    print(
        f"{'memory':>12} {resident_mb():6.0f} MB at most, {filled_mb:.0f} MB of it to fill the store"
    )


def breach(folder: Path, series: int, minutes: int) -> None:
    """Print what each minute takes in which all series breach all rules, and what is told."""
    store, now = Store(folder, series), Now()
    store.breach(series, minutes + 20)
    book = parse_rules(BREACHING, "alerts.yaml", {"HOOK": "x"})
    log = NotificationLog(folder)
    outbox = Outbox(log, {"ops": Nobody()}, now)
    board = Board(book, log, Dispatcher(book, log, outbox, lambda: None))
    board.set_watermark(END)
    evaluator = Evaluator(book, store, board, now)
    print(f"{series:,} series x {len(book.rules)} rules, all breach from the first minute on")
    print("minute   CPU s    MB   firing  incidents  notices so far by kind")
    for _ in range(minutes):
        now.at += timedelta(minutes=1)
        began = time.process_time()
        evaluator.tick()
        took = time.process_time() - began
        firing = sum(current.state.is_firing for current in board.current.values())
        (row,) = log.rows("select count(*) as n from incident")
        kinds = log.rows("select transition, count(*) as n from outbox group by 1")
        told = ", ".join(f"{kind['n']} {kind['transition']}" for kind in kinds)
        minute = (now.at - END) // timedelta(minutes=1)
        print(f"{minute:6} {took:7.2f} {resident_mb():6.0f} {firing:8,} {row['n']:10,}  {told}")
    log.close()


class Now:
    """A clock that is set."""

    def __init__(self) -> None:
        self.at = END

    def __call__(self) -> datetime:
        return self.at


class Nobody:
    """A receiver that keeps nothing; nothing is sent here, what waits in the outbox is counted."""

    def send(self, notice: Notice, delivery: Delivery) -> None:
        """Take it."""


def resident_mb() -> float:
    """Return the most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(store: Store, book: RuleBook, board: Board, rounds: int) -> tuple[float, float, Parts]:
    """Return the CPU-seconds of reading the past, of the first evaluation, and of the parts of others."""
    source = LiveSource(store, lambda: END, lambda _: False)
    shapes: dict[Shape, list[Rule]] = shapes_of(book.rules)
    ((shape, rules),) = shapes.items()
    source.look()
    began = time.process_time()
    source.history(shape, metrics_of(rules), END)
    history_s = time.process_time() - began
    began = time.process_time()
    one(store, source, shapes, board, END + timedelta(minutes=1), Parts())
    first_s = time.process_time() - began
    parts = Parts()
    for number in range(rounds):
        one(store, source, shapes, board, END + timedelta(minutes=2 + number), parts)
        parts.bare.append(store.bare(END))
    return history_s, first_s, parts


def one(
    store: Store,
    source: LiveSource,
    shapes: dict[Shape, list[Rule]],
    board: Board,
    at: datetime,
    parts: Parts,
) -> None:
    """Evaluate one minute as the running process does."""
    source.look()
    (shape, rules), store.asked_s, began = next(iter(shapes.items())), 0.0, time.process_time()
    source.samples(shape, metrics_of(rules), at)
    read = time.process_time()
    seen: Sequence[Any] = [(name, key, c.labels) for (name, key), c in board.current.items()]
    found = find_all(shapes, source, seen, at)
    news = found.news(board.is_known)
    judged = time.process_time()
    board.record(at, news, is_newest=True, latest=found)
    parts.asking.append(store.asked_s)
    parts.reading.append(read - began - store.asked_s)
    parts.judging.append(judged - read)
    parts.recording.append(time.process_time() - judged)


if __name__ == "__main__":
    main()
