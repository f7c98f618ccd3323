"""What became of cached prefixes: the query, and advice on how long they should live. Pure.

What is counted and what can't be known: docs/metrics.md, "Cache reuse".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from taximeter_collector.metrics import Query, request_conditions
from taximeter_collector.sql_files import read_sql

CAUSES: Final = (
    "prefix_changed",
    "expired",
    "concurrent",
    "first_call",
    "never_written",
    "below_minimum",
    "new_text",
    "hit",
)
"""Why a call read less than it might have, the last two are no miss."""

_TELLING: Final = "is_billed and kind = 'llm' and cache_reported and prompt_tokens > 0"
"""The calls whose prefix is followed."""
_PURE: Final = 0.05
"""Below this share of the writes, the other lifetime does not count as in use."""


@dataclass(frozen=True, slots=True)
class LifetimePrices:
    """Prices of one model in USD per million tokens."""

    read: float
    write_short: float
    write_long: float


@dataclass(frozen=True, slots=True)
class LifetimeAdvice:
    """What cached prompt tokens would have cost with a lifetime of 5 minutes and of 1 hour."""

    agent_name: str | None
    provider: str
    model: str
    short_usd: float
    long_usd: float
    now_usd: float
    """As it lives now: as modelled with one lifetime, as counted where both are in use."""
    long_share: float | None
    """Share of the written tokens that already live for an hour; None where nothing was written."""
    late_share: float | None
    """Of the tokens that 5 minutes would write anew: the share that comes back within the hour."""
    break_even_share: float | None
    """The share from which on an hour is cheaper; None where prices name none."""

    @property
    def is_longer_better(self) -> bool:
        return self.long_usd < self.short_usd

    @property
    def saving_usd(self) -> float:
        """What the better lifetime for everything saves against now; never below 0."""
        return max(self.now_usd - min(self.short_usd, self.long_usd), 0.0)


def reuse_query(
    start: datetime,
    end: datetime,
    known_until: datetime,
    where: Mapping[str, Sequence[str]] | None = None,
) -> Query:
    """Return the query of what became of each call's prefix, by agent, version, model and cause.

    ``known_until``: when the data ends; what was written less than a lifetime before is not
    judged. Raises ValueError for a filter that is no request dimension.
    """
    params = {"start": start, "end": end, "known_until": known_until}
    return _of_telling_calls("cache/reuse", params, where)


def followed_query(
    start: datetime, end: datetime, most: int, where: Mapping[str, Sequence[str]] | None = None
) -> Query:
    """Return the query of one row: how many `calls` `reuse_query` follows, `since` when the newest ``most`` of them.

    It takes a tenth of what following them does. Raises ValueError as `reuse_query` does.
    """
    params = {"start": start, "end": end, "most": most}
    return _of_telling_calls("cache/followed", params, where)


def _of_telling_calls(
    name: str, params: dict[str, Any], where: Mapping[str, Sequence[str]] | None
) -> Query:
    rows = request_conditions(where or {})
    sql = read_sql(name).replace("{where}", f"{_TELLING} and {rows.sql}")
    return Query(sql, params | rows.params)


def prices_of(
    rows: Iterable[Mapping[str, Any]], models: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], LifetimePrices]:
    """Return prices by (provider, model) from rows of the view `prices`, standard context.

    A model with a date behind its name has the price of the longest name that it starts with.
    """
    listed: dict[tuple[str, str], LifetimePrices] = {}
    for row in rows:
        known = (row["cache_read_usd"], row["cache_write_short_usd"], row["cache_write_long_usd"])
        # Prompts below a tier's limit: the band without one comes first.
        if None not in known and row["above_prompt_tokens"] is None:
            listed[row["provider"], row["model"]] = LifetimePrices(*known)
    found: dict[tuple[str, str], LifetimePrices] = {}
    for provider, model in models:
        names = [n for p, n in listed if p == provider and model.startswith(n)]
        if names:
            found[provider, model] = listed[provider, max(names, key=len)]
    return found


def lifetime_advice(
    rows: Iterable[Mapping[str, Any]], prices: Mapping[tuple[str, str], LifetimePrices]
) -> list[LifetimeAdvice]:
    """Return the advice for each agent and model whose prices offer both lifetimes.

    ``rows`` are those of `reuse_query`. The largest saving comes first.
    """
    names = ("cached_tokens", "back_in_5m_tokens", "back_in_1h_tokens", "written_tokens",
             "written_long_tokens", "read_tokens")  # fmt: skip
    sums: dict[tuple[str | None, str, str], list[int]] = {}
    for row in rows:
        key = (row["agent_name"], row["provider"] or "", row["model"] or "")
        counted = sums.setdefault(key, [0] * len(names))
        for i, name in enumerate(names):
            counted[i] += int(row[name] or 0)
    advice = [
        _advice(key, counted, prices[key[1:]])
        for key, counted in sums.items()
        if key[1:] in prices and counted[0]
    ]
    return sorted(advice, key=lambda a: (-a.saving_usd, -a.now_usd))


def _advice(
    key: tuple[str | None, str, str], counted: Sequence[int], price: LifetimePrices
) -> LifetimeAdvice:
    cached, soon, late, written, written_long, read = counted
    anew = cached - soon
    short = (soon * price.read + anew * price.write_short) / 1e6
    long = ((soon + late) * price.read + (anew - late) * price.write_long) / 1e6
    share = written_long / written if written else None
    now = short if (share or 0.0) < _PURE else long
    if share is not None and _PURE <= share <= 1 - _PURE:
        writes = (written - written_long) * price.write_short + written_long * price.write_long
        now = (read * price.read + writes) / 1e6
    return LifetimeAdvice(
        *key,
        short_usd=short,
        long_usd=long,
        now_usd=now,
        long_share=share,
        late_share=late / anew if anew else None,
        break_even_share=_break_even(price),
    )


def _break_even(price: LifetimePrices) -> float | None:
    saved_a_token = price.write_long - price.read
    return (price.write_long - price.write_short) / saved_a_token if saved_a_token > 0 else None
