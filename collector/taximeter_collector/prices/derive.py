"""The price library's rules, evaluated at one point of every box → the snapshot that ships.

No price rule is written again here: `ModelInfo.get_prices` answers, we only ask at every edge.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, Final

import genai_prices
from genai_prices import types as library
from genai_prices.data_snapshot import get_snapshot

from taximeter.pricing.bands import DAY_S, ENDLESS, FIELDS

_LIBRARY_KEY: Final = {
    "input": "input_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write_short": "cache_write_mtok",
    "cache_write_long": "cache_write_1h_mtok",
    "output": "output_mtok",
    "audio_input": "input_audio_mtok",
    "audio_cache_read": "cache_audio_read_mtok",
    "audio_output": "output_audio_mtok",
    "image_input": "input_image_mtok",
    "image_output": "output_image_mtok",
    "web_search": "web_searches_kcount",
}
Row = list[Any]


def derive_snapshot() -> dict[str, Any]:
    """Return providers, models, match clauses and bands of the installed price library."""
    providers, bands = [], {}
    for provider in get_snapshot().providers:
        models = []
        for model in provider.models:
            models.append({"id": model.id, "match": _clause(model.match)})
            for context, when in _contexts(model).items():
                bands[f"{provider.id}|{model.id}|{context}"] = _rows(model, when)
        providers.append(
            {
                "id": provider.id,
                "api": provider.api_pattern,
                "model_match": _clause(provider.model_match) if provider.model_match else None,
                "fallback": list(provider.fallback_model_providers or ()),
                "models": models,
            }
        )
    version = f"genai-prices {genai_prices.__version__}"
    return {"version": version, "providers": providers, "bands": bands}


def _clause(clause: Any) -> dict[str, Any]:
    for item in dataclasses.fields(clause):
        value, name = getattr(clause, item.name), item.name.rstrip("_")
        if isinstance(value, list):
            return {name: [_clause(part) for part in value]}
        return {name: value if name == "regex" else value.lower()}
    raise TypeError(f"not a match clause: {clause!r}")


def _contexts(model: library.ModelInfo) -> dict[str, Mapping[str, str]]:
    contexts: dict[str, Mapping[str, str]] = {"standard": {}}
    for variant in model.price_variants or ():
        if len(variant.when) == 1:
            contexts.setdefault(next(iter(variant.when.values())), variant.when)
    contexts.pop("default", None)
    return contexts


def _rows(model: library.ModelInfo, when: Mapping[str, str]) -> list[Row]:
    dates = _date_edges(_constraints(model, when))
    verified = _verified_from(model, when)
    rows: list[Row] = []
    for start, end in pairwise([-ENDLESS, *dates, ENDLESS]):
        for tod_from, tod_to in pairwise(_clock_edges(_constraints(model, when))):
            at = _inside(start, end) + timedelta(seconds=tod_from)
            prices: library.ModelPrice | dict[str, Any] = model.get_prices(at, when or None)
            quality = "exact"
            if verified is not None and end <= verified:
                prices, quality = _back_filled(model, when, at, verified), "assumed_tier"
            rows += _tiers(prices, [start, end, tod_from, tod_to, 127], quality)
    return rows


def _constraints(model: library.ModelInfo, when: Mapping[str, str]) -> list[Any]:
    priced = model.prices if isinstance(model.prices, list) else []
    found: list[Any] = [entry.constraint for entry in priced]
    if when:
        found += [v.constraint for v in model.price_variants or () if v.when == when]
    return [constraint for constraint in found if constraint is not None]


def _date_edges(constraints: Iterable[Any]) -> list[int]:
    starts = {c.start_date for c in constraints if isinstance(c, library.StartDateConstraint)}
    return sorted(int(datetime.combine(day, time(), UTC).timestamp()) for day in starts)


def _clock_edges(constraints: Iterable[Any]) -> list[int]:
    edges = {0, DAY_S}
    for constraint in constraints:
        if isinstance(constraint, library.TimeOfDateConstraint):
            for moment in (constraint.start_time, constraint.end_time):
                zoned = datetime.combine(datetime(1970, 1, 2), moment)
                zoned = zoned.replace(tzinfo=UTC) if zoned.tzinfo is None else zoned.astimezone(UTC)
                edges.add(zoned.hour * 3600 + zoned.minute * 60 + zoned.second)
    return sorted(edges)


def _inside(start: int, end: int) -> datetime:
    """Return a UTC midnight inside a date range."""
    if start > -ENDLESS:
        return datetime.fromtimestamp(start, UTC)
    if end < ENDLESS:
        return datetime.fromtimestamp(end, UTC) - timedelta(days=1)
    return datetime(2026, 1, 1, tzinfo=UTC)


def _verified_from(model: library.ModelInfo, when: Mapping[str, str]) -> int | None:
    """Return when a tier's own prices start in the library; None where they always hold."""
    if not when:
        return None
    edges = _date_edges([v.constraint for v in model.price_variants or () if v.when == when])
    return edges[0] if edges else None


def _back_filled(
    model: library.ModelInfo, when: Mapping[str, str], at: datetime, verified: int
) -> dict[str, Any]:
    """Return a tier's prices before they were verified: today's ratio to standard, then's standard."""
    first = datetime.fromtimestamp(verified, UTC)
    tier, standard = _values(model.get_prices(first, when)), _values(model.get_prices(first))
    then = _values(model.get_prices(at))
    result: dict[str, Any] = {}
    for key, value in then.items():
        now, base = tier.get(key), standard.get(key)
        if now is None or base is None or _base(base) == 0:
            result[key] = value
            continue
        ratio = _base(now) / _base(base)
        result[key] = now if _same(value, base) else _times(value, ratio)
    return result


def _values(prices: library.ModelPrice | dict[str, Any]) -> dict[str, Any]:
    held = prices if isinstance(prices, dict) else prices.__dict__
    return {key: value for key, value in held.items() if value is not None}


def _base(value: Any) -> Decimal:
    return value.base if isinstance(value, library.TieredPrices) else value


def _same(one: Any, other: Any) -> bool:
    return bool(one == other)


def _times(value: Any, ratio: Decimal) -> Any:
    if not isinstance(value, library.TieredPrices):
        return value * ratio
    tiers = [library.Tier(start=tier.start, price=tier.price * ratio) for tier in value.tiers]
    return library.TieredPrices(base=value.base * ratio, tiers=tiers)


def _tiers(prices: library.ModelPrice | dict[str, Any], box: list[int], quality: str) -> list[Row]:
    """Return one row a prompt-length tier."""
    held = _values(prices)
    values = {field: held.get(key) for field, key in _LIBRARY_KEY.items()}
    starts = {
        tier.start
        for value in values.values()
        if isinstance(value, library.TieredPrices)
        for tier in value.tiers
    }
    rows: list[Row] = []
    for above, up_to in pairwise([-1, *sorted(starts), ENDLESS]):
        row = [_pico(field, _at(values[field], above)) for field in FIELDS]
        rows.append([*box, above, up_to, row, *(() if quality == "exact" else (quality,))])
    return rows


def _at(value: Any, above: int) -> Decimal | None:
    if not isinstance(value, library.TieredPrices):
        return value  # type: ignore[no-any-return]
    reached = [tier.price for tier in value.tiers if tier.start <= above]
    return reached[-1] if reached else value.base


def _pico(field: str, usd: Decimal | None) -> int | None:
    if usd is None:
        return None
    per = 10**3 if field == "web_search" else 10**6
    return int((usd * 10**12 / per).to_integral_value())
