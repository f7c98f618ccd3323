"""How well the default rules detect: labelled series as roll-up rows in; recall, false alarms and delay out.

`python bench/detect.py DATA [--series N] [--step MINUTES] [--seconds S] [--rules NAME …]` reads the files of
a generator of labelled series: `series.csv` (series_id, scenario, start_minute), `labels.csv` (series_id, event,
start, end, is_incident, metrics, side_effects, ignore_until) and `m1.parquet` (a row a minute with traffic). The
first 14 days are history. Each minute is judged as the running process does, by the same functions:
roll-up → windows → finding → state. A firing that starts outside every label that may move the metric is a
false alarm; an incident is found if one starts in it, or at most 15 minutes after it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import duckdb

from taximeter_alerts.backtest.replay import Replay
from taximeter_alerts.judge.groups import Labels
from taximeter_alerts.judge.judging import Key, find_all
from taximeter_alerts.judge.states import States
from taximeter_alerts.judge.windows import shapes_of
from taximeter_alerts.rules.book import Rule
from taximeter_alerts.rules.defaults import default_rules

METRICS: Final = {
    "cost-per-request": "cpr",
    "error-rate": "err",
    "loop-length": "steps",
    "cache-drop": "cache",
    "dear-request": "maxcost",
    "agent-quiet": "req",
}
"""Default rule → the metric's name in the labels."""
FIRST: Final = datetime(2026, 1, 5, tzinfo=UTC)
DAYS: Final = 28
HISTORY: Final = timedelta(days=14)
GRACE: Final = timedelta(minutes=15)
AT_ONCE: Final = 60
"""Series that are read and judged together."""


class Store:
    """Some series in the collector's own tables, each an agent that is named by its number."""

    def __init__(self, data: Path, series: Sequence[int]) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("set timezone = 'UTC'; set threads = 1")
        tables = files("taximeter_collector") / "sql" / "tables"
        for name in ("usage_minute", "request"):
            self._connection.execute((tables / f"{name}.sql").read_text(encoding="utf-8"))
        self._connection.execute("create view requests as select * from request")
        minutes = {"file": str(data / "m1.parquet"), "series": list(series), "first": FIRST}
        self._connection.execute(
            "insert into usage_minute (minute, agent_name, requests, failed_requests,"
            " request_cost_pico, unpriced_requests, loop_length_sum, loop_length_max,"
            " loop_length_requests, calls, unseen_attempts, tokens, priced_tokens,"
            " hit_denominator_tokens, hit_read_tokens)"
            " select $first + to_minutes(bucket), series_id::varchar, req, err,"
            " cost_u * 1000000, 0, steps, steps_max, req, steps, 0, tok_k * 100, tok_k * 100,"
            " tok_k * 100, cached_k * 100 from read_parquet($file)"
            " where list_contains($series, series_id)",
            minutes,
        )
        self._connection.execute(
            "insert into request by name (select $first + to_minutes(bucket) as start_time,"
            " series_id::varchar as agent_name, bucket::varchar as request_id,"
            " max_cost_u * 1000000 as cost_pico from read_parquet($file)"
            " where list_contains($series, series_id))",
            minutes,
        )

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any:
        """Return the rows of a statement."""
        return self._connection.sql(sql, params=params or {}).to_arrow_table()


@dataclass
class Score:
    """What one rule did on some series."""

    found: int = 0
    incidents: int = 0
    false_alarms: int = 0
    weeks: float = 0.0
    delays: list[float] = field(default_factory=list)

    def cells(self) -> str:
        """Return the cells of a table's row."""
        share = f"{self.found}/{self.incidents}" if self.incidents else "–"
        delay = f"{statistics.median(self.delays):.0f} min" if self.delays else "–"
        rate = self.false_alarms / self.weeks if self.weeks else 0.0
        return f"{share} | {delay} | {self.false_alarms} ({rate:.3f})"


def firings(
    store: Store, rules: tuple[Rule, ...], minutes: int
) -> Iterator[tuple[int, str, datetime]]:
    """Yield series, rule and moment of each alert that fires."""
    start, end = FIRST + HISTORY, FIRST + timedelta(days=DAYS)
    replay, shapes, states = Replay(store, start, end), shapes_of(rules), States()
    seen: dict[Key, Labels] = {}
    at = start
    while at < end:
        at += timedelta(minutes=minutes)
        found = find_all(shapes, replay, [(*key, labels) for key, labels in seen.items()], at)
        seen |= found.labels()
        for finding, taken in states.take(found, at):
            if taken.transition == "fired":
                yield int(finding.labels["agent_name"] or 0), finding.rule.name, at


def score(
    scores: dict[tuple[str, str], Score],
    fired: list[tuple[str, datetime]],
    labels: list[Mapping[str, Any]],
    scenario: str,
    weeks: float,
) -> None:
    """Add one series to the scores, by rule and scenario."""
    for name, metric in METRICS.items():
        moments = [at for rule, at in fired if rule == name]
        mine = scores.setdefault((name, scenario), Score())
        mine.weeks += weeks
        excused: set[datetime] = set()
        for label in labels:
            if not label["is_incident"]:
                continue
            is_wanted = metric in (label["metrics"] or "").split(",")
            if is_wanted or metric in (label["side_effects"] or "").split(","):
                last = max(label["ignore_until"], label["end"]) + GRACE
                excused |= {at for at in moments if label["start"] <= at <= last}
            if is_wanted:
                inside = [at for at in moments if label["start"] <= at <= label["end"] + GRACE]
                mine.incidents += 1
                mine.found += bool(inside)
                mine.delays += [(at - label["start"]).total_seconds() / 60 for at in inside[:1]]
        mine.false_alarms += len(set(moments) - excused)


def print_tables(scores: Mapping[tuple[str, str], Score]) -> None:
    """Print a table by rule, then one by scenario."""
    head = "| found | median delay | false alarms (a series-week) |\n|---|---|---|---|"
    print(f"\n| Rule {head}")
    for name in (name for name in METRICS if any(rule == name for rule, _ in scores)):
        total = Score()
        for (rule, _), part in scores.items():
            if rule == name:
                total.found += part.found
                total.incidents += part.incidents
                total.false_alarms += part.false_alarms
                total.weeks += part.weeks
                total.delays += part.delays
        print(f"| `{name}` | {total.cells()} |")
    print(f"\n| Scenario, rule {head}")
    for (rule, scenario), part in sorted(scores.items(), key=lambda item: item[0][::-1]):
        if part.incidents or part.false_alarms:
            print(f"| {scenario.replace('_', ' ')}, `{rule}` | {part.cells()} |")


def main() -> None:
    """Run the series and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--series", type=int, default=1_000, help="of each scenario")
    parser.add_argument("--step", type=int, default=1, help="minutes between evaluations")
    parser.add_argument("--seconds", type=float, default=3_600, help="begin no part after this")
    parser.add_argument("--rules", nargs="*", default=list(METRICS), help="of the default ones")
    given = parser.parse_args()
    started = time.monotonic()
    rules = tuple(rule for rule in default_rules() if rule.name in given.rules)
    con = duckdb.connect()
    con.execute("set timezone = 'UTC'")
    series = con.execute(
        "select series_id, scenario, start_minute, row_number() over (partition by scenario order"
        " by series_id) as place from read_csv($file) qualify place <= $most order by place,"
        " md5(series_id::varchar)",
        {"file": str(given.data / "series.csv"), "most": given.series},
    ).fetchall()
    scores: dict[tuple[str, str], Score] = {}
    done, weeks = 0, 0.0
    for first in range(0, len(series), AT_ONCE):
        if time.monotonic() - started > given.seconds:
            break
        part = series[first : first + AT_ONCE]
        store = Store(given.data, [series_id for series_id, *_ in part])
        fired = list(firings(store, rules, given.step))
        for series_id, scenario, start_minute, _ in part:
            mine = [(rule, at) for agent, rule, at in fired if agent == series_id]
            days = DAYS - max(HISTORY.days, start_minute / 1440)
            score(scores, mine, labels_of(con, given.data, series_id), scenario, days / 7)
            done, weeks = done + 1, weeks + days / 7
        print(f"{done} series: {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{done} of {len(series)} series, every {given.step} minutes, {weeks:.0f} series-weeks")
    print_tables({key: found for key, found in scores.items() if key[0] in given.rules})


def labels_of(
    con: duckdb.DuckDBPyConnection, data: Path, series_id: int
) -> list[Mapping[str, Any]]:
    """Return the labelled events of a series."""
    found: list[Mapping[str, Any]] = con.sql(
        "select start::timestamptz as start, \"end\"::timestamptz as \"end\", is_incident,"
        " metrics, side_effects, ignore_until::timestamptz as ignore_until"
        " from read_csv($file) where series_id = $id",
        params={"file": str(data / "labels.csv"), "id": series_id},
    ).to_arrow_table().to_pylist()  # fmt: skip
    return found


if __name__ == "__main__":
    main()
