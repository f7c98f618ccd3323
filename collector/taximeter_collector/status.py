"""What the collector says about itself: /v1/status for programs, /metrics for Prometheus."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Protocol, get_args

import duckdb

from taximeter_collector.ingest.counters import Fate
from taximeter_collector.ingest.decode import SIGNALS
from taximeter_collector.store.health import State

FATES: Final[tuple[Fate, ...]] = (
    "received",
    "stored",
    "rejected",
    "duplicate",
    "refused",
    "redacted",
    "cut",
)


class CountsItems(Protocol):
    """Counters of the ingest."""

    commits: int
    last_error: str | None

    def snapshot(self) -> Mapping[tuple[str, Fate, str], int]:
        """Return items by (signal, fate, reason)."""

    def commit_seconds(self) -> Sequence[float]:
        """Return how long the last commits took."""


class Takes(Protocol):
    """The ingest as the status sees it."""

    @property
    def counters(self) -> CountsItems: ...
    @property
    def queue_depth(self) -> int: ...
    @property
    def queue_bytes(self) -> int: ...


class Keeps(Protocol):
    """The store as the status sees it."""

    @property
    def data_dir(self) -> Path: ...
    @property
    def price_version(self) -> object: ...
    def size_bytes(self) -> int: ...
    def report(self) -> dict[str, Any]: ...
    def read(self) -> AbstractContextManager[duckdb.DuckDBPyConnection]: ...


class Follows(Protocol):
    """The roll-ups as the status sees them."""

    @property
    def data_version(self) -> int:
        """Grows when derived data changed."""

    @property
    def derived(self) -> int:
        """The last group commit that the roll-ups contain."""

    last_error: str | None


class StatusReport:
    """Reads the state of ingest, store and roll-ups at the moment of asking."""

    def __init__(self, ingest: Takes, store: Keeps, rollups: Follows) -> None:
        self._ingest, self._store, self._rollups = ingest, store, rollups
        self._started = time.time()

    def as_dict(self) -> dict[str, Any]:
        """Return the answer of GET /v1/status."""
        counters = self._ingest.counters
        counts = counters.snapshot()
        seconds = sorted(counters.commit_seconds())
        return {
            "version": package_version(),
            "data_version": self._rollups.data_version,
            "price_version": str(self._store.price_version),
            "data_dir": str(self._store.data_dir),
            "pid": os.getpid(),
            "uptime_s": round(time.time() - self._started, 3),
            **{fate: _by_signal(counts, fate) for fate in FATES},
            "reasons": [
                {"signal": signal, "fate": fate, "reason": reason, "items": items}
                for (signal, fate, reason), items in sorted(counts.items())
                if reason
            ],
            "queue_depth": self._ingest.queue_depth,
            "queue_bytes": self._ingest.queue_bytes,
            "commits": counters.commits,
            "commit_seconds": {
                "p50": _quantile(seconds, 0.5),
                "p95": _quantile(seconds, 0.95),
                "max": _quantile(seconds, 1.0),
            },
            "lag_s": self._lag_s(),
            "store_bytes": self._store.size_bytes(),
            "store": self._store.report(),
            "errors": [error for error in (counters.last_error, self._rollups.last_error) if error],
        }

    def as_prometheus(self) -> str:
        """Return the answer of GET /metrics, text format 0.0.4."""
        status = self.as_dict()
        counts = self._ingest.counters.snapshot()
        samples = [
            _metric(
                "taximeter_items_total",
                "counter",
                "Spans, log records and data points by what became of them.",
                [
                    ({"signal": signal, "fate": fate, "reason": reason}, items)
                    for (signal, fate, reason), items in sorted(counts.items())
                ],
            ),
            _metric(
                "taximeter_commit_seconds",
                "gauge",
                "How long the last group commits took.",
                [
                    ({"quantile": name}, value)
                    for name, value in status["commit_seconds"].items()
                    if value is not None
                ],
            ),
            _metric(
                "taximeter_build_info",
                "gauge",
                "Versions of the collector and of its prices.",
                [({"version": status["version"], "prices": status["price_version"]}, 1)],
            ),
        ]
        samples += _store_metrics(status["store"])
        samples += [
            _metric(name, kind, help, [({}, status[key])])
            for name, kind, key, help in _PLAIN_METRICS
            if status[key] is not None
        ]
        return "".join(samples)

    def _lag_s(self) -> float | None:
        """Return the age of the oldest commit that the roll-ups lack; 0 if they have all."""
        try:
            with self._store.read() as cursor:
                rows = cursor.execute(
                    "select epoch(min(received_at)) from export_request"
                    " where signal = 'traces' and batch > $derived",
                    {"derived": self._rollups.derived},
                ).fetchall()
        except duckdb.Error:
            return None
        oldest = rows[0][0]
        return 0.0 if oldest is None else round(max(time.time() - oldest, 0.0), 3)


_PLAIN_METRICS: Final = (
    ("taximeter_commits_total", "counter", "commits", "Group commits since start."),
    ("taximeter_queue_requests", "gauge", "queue_depth", "Requests that wait for their commit."),
    ("taximeter_queue_bytes", "gauge", "queue_bytes", "Bytes of those requests."),
    ("taximeter_rollup_lag_seconds", "gauge", "lag_s", "How far the roll-ups are behind."),
    ("taximeter_store_bytes", "gauge", "store_bytes", "Size of the data files."),
    ("taximeter_data_version", "counter", "data_version", "Grows when derived data changed."),
    ("taximeter_uptime_seconds", "gauge", "uptime_s", "Seconds since start."),
)


def package_version() -> str:
    """Return the installed version of taximeter."""
    try:
        return version("taximeter")
    except PackageNotFoundError:
        return "unknown"


def _by_signal(counts: Mapping[tuple[str, Fate, str], int], fate: Fate) -> dict[str, int]:
    return {
        signal: sum(n for (s, f, _), n in counts.items() if s == signal and f == fate)
        for signal in SIGNALS
    }


def _quantile(ordered: Sequence[float], q: float) -> float | None:
    """Return the value at `q`, None of nothing.

    >>> _quantile([1.0, 2.0, 9.0], 0.5), _quantile([], 0.5)
    (2.0, None)
    """
    return round(ordered[min(int(len(ordered) * q), len(ordered) - 1)], 6) if ordered else None


def _store_metrics(store: Mapping[str, Any]) -> list[str]:
    """Return the samples of the store's report."""
    return [
        _metric(
            "taximeter_store_state",
            "gauge",
            "1 for the state that the store is in: ok, disk_low, unwritable.",
            [({"state": state}, int(state == store["state"])) for state in get_args(State)],
        ),
        _metric(
            "taximeter_store_free_bytes",
            "gauge",
            "Free bytes on the disk of the data directory.",
            [({}, store["free_bytes"])],
        ),
        _metric(
            "taximeter_store_alarms",
            "gauge",
            "Events that cost data and that nobody has looked at (taximeter repair).",
            [({}, len(store["alarms"]))],
        ),
    ]


def _metric(
    name: str, kind: str, help: str, samples: Sequence[tuple[Mapping[str, str], float]]
) -> str:
    lines = [f"# HELP {name} {help}", f"# TYPE {name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value}" if inside else f"{name} {value}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
