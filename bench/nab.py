"""The Numenta Anomaly Benchmark, by the detector that ships: its files in, NAB's scores of what fires out.

`python bench/nab.py NAB` reads a checkout of github.com/numenta/NAB (`data/`, `labels/combined_windows.json`).
Each file is an agent whose cost per request is the file's value, 20 requests a row (NAB knows no counts),
all begun on one day at their own hour; a spike and a drop are watched, without a least impact. Judged every
five minutes as the running process does. What counts is the row in which an alert fires: no threshold is
chosen on the corpus, which NAB does for each detector.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from taximeter_alerts.backtest.replay import Replay
from taximeter_alerts.judge.judging import find_all
from taximeter_alerts.judge.states import States
from taximeter_alerts.judge.windows import shapes_of
from taximeter_alerts.rules.book import Condition, Rule, Sensitivity

FIRST: Final = datetime(2026, 1, 5, tzinfo=UTC)
REQUESTS: Final = 20
STEP: Final = timedelta(minutes=5)
PROFILES: Final = {"standard": (0.11, 1.0), "low FP": (0.22, 1.0), "low FN": (0.11, 2.0)}
"""What a false alarm and a missed window cost; a window that is found gives up to 1."""
SENSITIVITIES: Final[tuple[Sensitivity, ...]] = ("low", "normal", "high")


@dataclass(frozen=True, slots=True)
class Series:
    """One file: when its rows are (moved to `FIRST`), what they hold, and the rows of its windows."""

    name: str
    at: list[datetime]
    values: list[float]
    windows: list[tuple[int, int]]

    @property
    def probation(self) -> int:
        """How many rows at the beginning are not scored."""
        return int(min(0.15 * len(self.at), 0.15 * 5_000))

    @property
    def weeks(self) -> float:
        return (self.at[-1] - self.at[self.probation]) / timedelta(days=7)


def read_series(folder: Path) -> list[Series]:
    """Return the corpus."""
    labels = json.loads((folder / "labels" / "combined_windows.json").read_text(encoding="utf-8"))
    found = []
    for name, windows in sorted(labels.items()):
        with (folder / "data" / name).open(encoding="utf-8") as lines:
            rows = [(row["timestamp"], float(row["value"])) for row in csv.DictReader(lines)]
        moments = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text, _ in rows]
        place = {moment: row for row, moment in reversed(list(enumerate(moments)))}
        midnight = moments[0].replace(hour=0, minute=0, second=0)
        ends = [
            tuple(place[datetime.fromisoformat(end.split(".")[0]).replace(tzinfo=UTC)] for end in w)
            for w in windows
        ]
        at = [FIRST + (moment - midnight) for moment in moments]
        found.append(Series(name, at, [value for _, value in rows], [(a, b) for a, b in ends]))
    return found


class Store:
    """The corpus in the collector's own table, an agent a file."""

    def __init__(self, corpus: Sequence[Series]) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("set timezone = 'UTC'; set threads = 1")
        tables = files("taximeter_collector") / "sql" / "tables"
        self._connection.execute((tables / "usage_minute.sql").read_text(encoding="utf-8"))
        rows = pa.table(
            {
                "moment": [at for series in corpus for at in series.at],
                "name": [series.name for series in corpus for _ in series.at],
                "value": [value for series in corpus for value in series.values],
            }
        )
        self._connection.register("nab", rows)
        self._connection.execute(
            "insert into usage_minute by name select date_trunc('minute', moment) as minute,"
            " name as agent_name, $requests as requests, 0 as unpriced_requests,"
            " (value * $requests * 1e12)::hugeint as request_cost_pico from nab",
            {"requests": REQUESTS},
        )

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any:
        """Return the rows of a statement."""
        return self._connection.sql(sql, params=params or {}).to_arrow_table()


def rules_of(sensitivity: Sensitivity) -> tuple[Rule, ...]:
    """Return the two rules that are watched."""
    conditions = {"up": Condition("spike", 2.0, "spike 2x"), "down": Condition("drop", 0.5, "drop")}
    return tuple(
        Rule(name, "cost_per_request_usd", condition, by=("agent_name",), sensitivity=sensitivity)
        for name, condition in conditions.items()
    )


def firings(
    store: Store, end: datetime, wanted: Sequence[Sensitivity]
) -> Iterator[tuple[Sensitivity, str, datetime]]:
    """Yield sensitivity, file and moment of each alert that fires."""
    replay = Replay(store, FIRST, end)
    shapes = {sensitivity: shapes_of(rules_of(sensitivity)) for sensitivity in wanted}
    states = {sensitivity: States() for sensitivity in wanted}
    at = FIRST
    while at < end:
        at += STEP
        for sensitivity in wanted:
            found = find_all(shapes[sensitivity], replay, (), at)
            for finding, taken in states[sensitivity].take(found, at):
                if taken.transition == "fired":
                    yield sensitivity, str(finding.labels["agent_name"]), at


def sigmoid(x: float) -> float:
    """Return NAB's scaled sigmoid: 1 long before, 0 at and -1 long after the end of a window."""
    return 2 / (1 + math.exp(5 * x)) - 1


def weight(row: int, windows: Sequence[tuple[int, int]]) -> tuple[float, int | None]:
    """Return what a detection in this row gives, and the window that it is in."""
    before = None
    for number, (first, last) in enumerate(windows):
        if first <= row <= last:
            place = -(last - row + 1) / (last - first + 1)
            return sigmoid(place) / sigmoid(-1), number
        if last < row:
            before = (first, last)
    if before is None:
        return -1.0, None
    far = (row - before[1]) / (before[1] - before[0])
    return (-1.0 if far > 3 else sigmoid(far)), None


@dataclass
class Score:
    """What one setting did on the corpus."""

    nab: dict[str, float]
    found: int = 0
    windows: int = 0
    false_alarms: int = 0
    weeks: float = 0.0


def score(corpus: Sequence[Series], fired: Mapping[str, Sequence[datetime]]) -> Score:
    """Return NAB's scores of these firings: 0 is a detector that says nothing, 100 a perfect one."""
    result = Score(dict.fromkeys(PROFILES, 0.0))
    for series in corpus:
        rows = {_row(series, at) for at in fired.get(series.name, ())}
        weighed = [weight(row, series.windows) for row in rows if row >= series.probation]
        wrong = [gain for gain, window in weighed if window is None]
        best = {
            number: max((g for g, w in weighed if w == number), default=None)
            for number in range(len(series.windows))
        }
        for name, (false_alarm, missed) in PROFILES.items():
            result.nab[name] += false_alarm * sum(wrong)
            result.nab[name] += sum(gain + missed for gain in best.values() if gain is not None)
        result.found += sum(gain is not None for gain in best.values())
        result.windows += len(best)
        result.false_alarms += len(wrong)
        result.weeks += series.weeks
    for name, (_, missed) in PROFILES.items():
        result.nab[name] *= 100 / ((1 + missed) * result.windows)
    return result


def _row(series: Series, at: datetime) -> int:
    """Return the newest row before a moment."""
    return max(row for row, moment in enumerate(series.at) if moment < at)


def main() -> None:
    """Judge the corpus and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sensitivity", nargs="*", choices=SENSITIVITIES, default=["normal"])
    given = parser.parse_args()
    corpus = read_series(given.folder)
    began, end = time.process_time(), max(series.at[-1] for series in corpus) + STEP
    fired: dict[str, dict[str, list[datetime]]] = {name: {} for name in given.sensitivity}
    for sensitivity, name, at in firings(Store(corpus), end, given.sensitivity):
        fired[sensitivity].setdefault(name, []).append(at)
    rows = sum(len(series.at) for series in corpus)
    print(f"{len(corpus)} files, {rows:,} rows, {time.process_time() - began:.0f} CPU-seconds")
    print("| Sensitivity | standard | low FP | low FN | windows found | false alarms (a week) |")
    print("|---|---|---|---|---|---|")
    for sensitivity in given.sensitivity:
        found = score(corpus, fired[sensitivity])
        told = " | ".join(f"{found.nab[name]:.1f}" for name in PROFILES)
        rate = found.false_alarms / found.weeks
        print(
            f"| {sensitivity} | {told} | {found.found}/{found.windows}"
            f" | {found.false_alarms} ({rate:.2f}) |"
        )


if __name__ == "__main__":
    main()
