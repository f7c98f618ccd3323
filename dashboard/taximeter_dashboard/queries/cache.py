"""How much of the prompts the cache serves, what it saves, and why it misses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from taximeter_collector.cache_reuse import (
    LifetimeAdvice,
    followed_query,
    lifetime_advice,
    prices_of,
    reuse_query,
)
from taximeter_collector.metrics import metric_query
from taximeter_dashboard.queries.core import Reads, Row, Series, Values
from taximeter_dashboard.scope import Scope

_LINES: Final = 5
_CACHE_METRICS: Final = ("cache_hit_ratio", "cache_write_share", "cache_reuse", "cache_saved_usd",
                         "tokens")  # fmt: skip
_PRICES: Final = """select provider, model, above_prompt_tokens, cache_read_usd, cache_write_short_usd,
    cache_write_long_usd from prices where context = 'standard' and cache_write_long_usd is not null
    and list_contains($providers, provider) order by all"""


def hit_ratio_by_agent(reader: Reads, scope: Scope) -> Series:
    """Return the hit ratio by bucket for the agents with most prompt tokens; ratios have no rest."""
    query = metric_query(
        ["cache_hit_ratio"], scope.start, scope.end,
        bucket_s=scope.bucket_s, by=["agent_name"], where=scope.where, parts=True,
    )  # fmt: skip
    times = scope.buckets
    place = {time: i for i, time in enumerate(times)}
    values: dict[str, Values] = {}
    weight: dict[str, float] = {}
    for row in reader.rows(query.sql, query.params):
        name = row["agent_name"] or "unknown"
        if row["cache_hit_ratio"] is None or row["bucket"] not in place:
            continue
        values.setdefault(name, [None] * len(times))[place[row["bucket"]]] = row["cache_hit_ratio"]
        weight[name] = weight.get(name, 0.0) + row["cache_hit_ratio__den"]
    heaviest = sorted(values, key=lambda name: (-weight[name], name))[:_LINES]
    return Series(times, {name: values[name] for name in heaviest})


def cache_by_agent_and_model(reader: Reads, scope: Scope) -> list[Row]:
    """Return one row an agent and model that reports caching, most tokens first."""
    query = metric_query(
        _CACHE_METRICS, scope.start, scope.end, by=["agent_name", "provider", "model"],
        where=scope.where, order_by="tokens",
    )  # fmt: skip
    rows = reader.rows(query.sql, query.params)
    return [row for row in rows if row["model"] and row["cache_hit_ratio"] is not None]


@dataclass(frozen=True, slots=True)
class Fates:
    """What became of the prefixes of the calls from `start` on, a row an agent, version, model and cause."""

    start: datetime
    followed: int
    calls: int
    """How many calls there are in the window, the newest of which are followed."""
    rows: list[Row]


def prefix_fates(reader: Reads, scope: Scope, now: datetime, most: int) -> Fates:
    """Follow the prefixes of the newest ``most`` calls: what it takes grows with each."""
    counting = followed_query(scope.start, scope.end, most, scope.where)
    (counted,) = reader.rows(counting.sql, counting.params)
    start = counted["since"] or scope.start if counted["calls"] > most else scope.start
    query = reuse_query(start, scope.end, now, scope.where)
    rows = reader.rows(query.sql, query.params)
    return Fates(start, sum(row["calls"] for row in rows), counted["calls"], rows)


def advice_of(reader: Reads, fates: Sequence[Row]) -> list[LifetimeAdvice]:
    """Return which cache lifetime would have been cheaper, at the prices of today."""
    models = {(row["provider"], row["model"]) for row in fates if row["provider"] and row["model"]}
    if not models:
        return []
    rows = reader.rows(_PRICES, {"providers": sorted({provider for provider, _ in models})})
    return lifetime_advice(fates, prices_of(rows, models))


def added(rows: Iterable[Row], name: str) -> float | None:
    """Return the sum of a column that adds up, None where it is not known in any row."""
    known = [row[name] for row in rows if row[name] is not None]
    return sum(known) if known else None
