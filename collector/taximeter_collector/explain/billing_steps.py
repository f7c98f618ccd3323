"""What a call costs and why: billed or not, price row, arithmetic, savings. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from taximeter.pricing import FIELDS, Band, Catalog, Resolution
from taximeter.pricing.bands import DAY_S, ENDLESS
from taximeter_collector.explain.evidence import Evidence
from taximeter_collector.explain.proof import (
    Check,
    Column,
    Fact,
    Link,
    Step,
    Table,
    Unit,
    Value,
    count,
    shown,
    usd,
    worst,
)

QUALITY: Final = {
    "exact": "priced part by part at list price",
    "aggregate": "priced from a total: the calls below it were not reported",
    "assumed_ttl": "cache life assumed: the write's length was not reported",
    "assumed_tier": "the tier's price was not listed at that time: today's ratio to standard",
    "reported": "as the sender reported it",
    "unpriced": "no price is known for it",
}
LEAF_OF: Final = {
    "input": "uncached_input_tokens", "cache_read": "cache_read_tokens",
    "cache_write_short": "cache_write_short_tokens", "cache_write_long": "cache_write_long_tokens",
    "output": "output_tokens", "audio_input": "audio_input_tokens",
    "audio_cache_read": "audio_cache_read_tokens", "audio_output": "audio_output_tokens",
    "image_input": "image_input_tokens", "image_output": "image_output_tokens",
    "web_search": "web_searches",
}  # fmt: skip
_PART_OF: Final = {
    "input": "input_cost_pico", "cache_read": "cache_read_cost_pico",
    "cache_write_short": "cache_write_cost_pico", "cache_write_long": "cache_write_cost_pico",
    "output": "output_cost_pico",
}  # fmt: skip
_MUST_BE_KNOWN: Final = ("input", "cache_read", "cache_write_short", "cache_write_long", "output")
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN_ID: Final = re.compile(r"\b[0-9a-f]{16}\b")


@dataclass(frozen=True, slots=True)
class Priced:
    """The price list's answer for a call."""

    named: str | None
    """The model string that was looked up."""
    entry: Resolution | None
    band: Band | None


def look_up(catalog: Catalog, evidence: Evidence) -> Priced:
    """Return entry and band of a call: the model that answered, else the one asked for."""
    call, raw = evidence.call or {}, evidence.reading.span
    for name in (call.get("response_model"), call.get("request_model")):
        entry = catalog.resolve(
            raw["provider_raw"], name, tier=call["service_tier"], batch=bool(call["is_batch"]),
            region_class=call["region_class"], server_address=raw["server_address"],
        )  # fmt: skip
        if entry is not None:
            prompt, at = call["prompt_tokens"] or 0, call["start_time"]
            bands = (band for band in catalog.bands(entry) if band.holds(at, prompt))
            return Priced(name, entry, next(bands, None))
    return Priced(None, None, None)


def billed_step(evidence: Evidence) -> Step:
    """Say whether this span is the one that carries the call's cost."""
    call, span = evidence.call or {}, evidence.span
    if call["is_billed"]:
        says = "Billed here: no other span of this call is."
        if evidence.twins:
            says = f"Billed here; {count(len(evidence.twins), 'other span')} of the same call not."
        links = [
            Link(twin["trace_id"], twin["span_id"], f"{twin['dialect']}: {twin['billed_reason']}")
            for twin in evidence.twins
        ]
        return Step("billed", "Billed", says, "ok", links=links)
    reason = call["billed_reason"] or "repeats another span"
    links = [Link(span["trace_id"], found, reason) for found in _SPAN_ID.findall(reason)]
    facts = []
    if not links:
        below = [one for one in evidence.below() if one["is_billed"]]
        links = [
            Link(
                span["trace_id"],
                one["span_id"],
                f"{one['name']}: {shown(one['cost_pico'], 'pico_usd')}",
            )
            for one in below
        ]
        known = [one["cost_pico"] for one in below if one["cost_pico"] is not None]
        facts = [Fact("Cost of the calls below", sum(known), "pico_usd")] if known else []
    return Step("billed", "Billed", f"Not billed here: {reason}.", "ok", facts, links=links)


def price_step(evidence: Evidence, priced: Priced) -> Step:
    """Say which row of the price list holds, and how the names led there."""
    call, raw, entry = evidence.call or {}, evidence.reading.span, priced.entry
    facts = [
        Fact("Provider said", raw["provider_raw"]),
        Fact("Model said", _models(call)),
        *([Fact("Server", raw["server_address"])] if raw["server_address"] else []),
    ]
    if entry is None:
        says = "No price list knows this model." if _models(call) else "The span names no model."
        return Step("price", "Price row", says, "note", facts)
    provider, _, home = entry.provider.partition(">")
    facts += [
        Fact("Price key", f"{provider} / {entry.model} / {entry.context}"),
        Fact("Match", _match(priced)),
        *([Fact("Listed by", home)] if home else []),
    ]
    if priced.band is None:
        says = f"{provider} {entry.model} has no price at that time."
        return Step("price", "Price row", says, "note", facts)
    facts += [Fact("Holds", when(priced.band)), Fact("Source", priced.band.provenance)]
    says = f"{provider} {entry.model}, {entry.context}."
    verdict = worst(
        ["note" if entry.match_quality == "prefix" else "ok", _drift(call, facts, priced)]
    )
    return Step("price", "Price row", says, verdict, facts)


def _drift(call: Mapping[str, Any], facts: list[Fact], priced: Priced) -> Any:
    stored = call["price_source"]
    if stored is None or priced.band is None or stored == priced.band.provenance:
        return "ok"
    facts.append(Fact("Priced by", stored, verdict="note"))
    return "note"


def _models(call: Mapping[str, Any]) -> str | None:
    asked, answered = call["request_model"], call["response_model"]
    if asked and answered and asked != answered:
        return f"{answered} (asked for {asked})"
    said: str | None = answered or asked
    return said


def _match(priced: Priced) -> str | None:
    if priced.entry is None:
        return None
    quality = {"prefix": "the list knows a shorter name that this one starts with",
               "override": "a card of a price file"}.get(priced.entry.match_quality)  # fmt: skip
    shown_quality = priced.entry.match_quality + (f": {quality}" if quality else "")
    return f"{shown_quality} ({priced.named})"


def when(band: Band) -> str:
    """Return in words the box in which a band holds.

    >>> when(Band(prices=(), gt_prompt=200_000, dow_mask=0b0011111))
    'always, prompt over 200,000, Mon Tue Wed Thu Fri'
    """
    since = "" if band.valid_from <= -ENDLESS else f"from {_date(band.valid_from)}"
    until = "" if band.valid_to >= ENDLESS else f"until {_date(band.valid_to)}"
    parts = [" ".join(filter(None, (since, until))) or "always"]
    if band.gt_prompt >= 0:
        parts.append(f"prompt over {band.gt_prompt:,}")
    if band.le_prompt < ENDLESS:
        parts.append(f"prompt to {band.le_prompt:,}")
    if (band.tod_from, band.tod_to) != (0, DAY_S):
        parts.append(f"{_clock(band.tod_from)}-{_clock(band.tod_to)} UTC")
    if band.dow_mask != 127:
        parts.append(" ".join(d for i, d in enumerate(_WEEKDAYS) if band.dow_mask >> i & 1))
    return ", ".join(parts)


def _date(unix_s: int) -> str:
    at = datetime.fromtimestamp(unix_s, UTC)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M} UTC"


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}"


def arithmetic_step(evidence: Evidence, priced: Priced) -> Step:
    """Multiply each count by its price, add up, and compare with what is stored."""
    call = evidence.call or {}
    if call["cost_pico"] is None:
        return _unpriced_step(evidence, priced)
    if call["cost_pico"] == 0 and call["total_tokens"] is None:
        says = "$0: the provider refused the call before it produced anything, and bills nothing."
        return Step("arithmetic", "Arithmetic", says, "ok", _beside(call))
    if priced.band is None:
        says = f"Stored as {usd(call['cost_pico'])}; the price files of this machine have no price for it."
        return Step("arithmetic", "Arithmetic", says, "failed", _beside(call))
    prices = dict(zip(FIELDS, priced.band.prices, strict=True))
    costs = {kind: _cost(kind, call, prices) for kind in FIELDS}
    total = sum(costs.values())
    rows: list[Sequence[Value]] = [
        [kind, call[LEAF_OF[kind]], _price_text(kind, prices[kind]), cost]
        for kind, cost in costs.items()
        if call[LEAF_OF[kind]]
    ]
    rows.append(["total", call["total_tokens"], None, total])
    columns = (
        Column("Part"),
        Column("Tokens", "count"),
        Column("Per million"),
        Column("Cost", "pico_usd"),
    )
    checks = [
        _equal("The sum is the stored cost", total, call["cost_pico"]),
        _parts_check(costs, call),
    ]
    verdict = worst([*(check.verdict for check in checks), _quality_verdict(call)])
    is_equal = all(check.verdict != "failed" for check in checks)
    says = f"{usd(total)}, equal to the stored cost to the pico-USD." if is_equal else (
        f"The parts add up to {usd(total)}, and {usd(call['cost_pico'])} is stored: the price files"
        " have changed since it was priced, or this machine's differ from the collector's."
    )  # fmt: skip
    facts = [*_reasoning_cost(call, prices), *_beside(call)]
    return Step("arithmetic", "Arithmetic", says, verdict, facts, [Table(columns, rows)], checks)


def _cost(kind: str, call: Mapping[str, Any], prices: Mapping[str, int | None]) -> int:
    return int(call[LEAF_OF[kind]] or 0) * (prices[kind] or 0)


def _parts(costs: Mapping[str, int]) -> dict[str, int]:
    parts: dict[str, int] = {}
    for kind, cost in costs.items():
        part = _PART_OF.get(kind, "other_cost_pico")
        parts[part] = parts.get(part, 0) + cost
    return parts


def _parts_check(costs: Mapping[str, int], call: Mapping[str, Any]) -> Check:
    claim, ours = "Each part is the stored part", _parts(costs)
    wrong = [
        f"{part.removesuffix('_cost_pico')} {usd(cost)}, stored {shown(call[part], 'pico_usd')}"
        for part, cost in ours.items()
        if cost != call[part]
    ]
    right = [
        f"{part.removesuffix('_cost_pico')} {usd(cost)}" for part, cost in ours.items() if cost
    ]
    return Check(claim, "failed" if wrong else "ok", "; ".join(wrong or right))


def _price_text(kind: str, pico: int | None) -> str:
    is_search = kind == "web_search"
    unit: Unit = "pico_usd_per_search" if is_search else "pico_usd_per_token"
    return shown(pico, unit) + (" / 1k" if is_search else "")


def _equal(claim: str, ours: int, stored: int | None) -> Check:
    if stored == ours:
        return Check(claim, "ok", usd(ours))
    return Check(claim, "failed", f"{usd(ours)}, stored {shown(stored, 'pico_usd')}")


def _quality_verdict(call: Mapping[str, Any]) -> Any:
    return "ok" if call["cost_quality"] == "exact" else "note"


def _reasoning_cost(call: Mapping[str, Any], prices: Mapping[str, int | None]) -> list[Fact]:
    tokens, price = call["reasoning_tokens"], prices["output"]
    if not tokens or price is None:
        return []
    return [Fact(f"of which reasoning ({shown(tokens, 'count')})", tokens * price, "pico_usd")]


def _beside(call: Mapping[str, Any]) -> list[Fact]:
    """Return how sure the cost is, and what the sender says that it was."""
    quality = call["cost_quality"]
    facts = [Fact("Quality", f"{quality}: {QUALITY.get(quality, 'see docs/prices.md')}",
                  verdict=_quality_verdict(call))]  # fmt: skip
    reported = call["cost_reported_usd"]
    if reported is None:
        return facts
    text = f"${reported:.12f}".rstrip("0").rstrip(".")
    if call["cost_pico"]:
        drift = reported * 1e12 / call["cost_pico"] - 1
        text += f" ({drift:+.2%} against ours)"
        return [
            *facts,
            Fact("Sender's own cost", text, verdict="note" if abs(drift) > 0.02 else "ok"),
        ]
    return [*facts, Fact("Sender's own cost", text)]


def _unpriced_step(evidence: Evidence, priced: Priced) -> Step:
    call = evidence.call or {}
    missing = []
    unknown = [LEAF_OF[kind] for kind in _MUST_BE_KNOWN if call[LEAF_OF[kind]] is None]
    if unknown:
        missing.append(f"the count of {', '.join(unknown)}")
    if priced.entry is None:
        missing.append("a price of the model")
    elif priced.band is None:
        missing.append("a price at that time")
    else:
        prices = dict(zip(FIELDS, priced.band.prices, strict=True))
        missing += [
            f"a price of {kind}" for kind in FIELDS if call[LEAF_OF[kind]] and prices[kind] is None
        ]
    says = f"No cost: {' and '.join(missing) or 'it was priced by other price files'}"
    says += " is missing." if missing else "."
    facts = [*_beside(call), Fact("Tokens", call["total_tokens"], "count")]
    if evidence.how_to_price:
        facts.append(Fact("What to do", evidence.how_to_price))
    return Step("arithmetic", "Arithmetic", says, "note", facts)


def savings_step(evidence: Evidence, priced: Priced) -> Step | None:
    """Say what the cache saved against the same tokens uncached; None where nothing was cached."""
    call = evidence.call or {}
    if priced.band is None or call["cache_saved_pico"] is None:
        return None
    prices = dict(zip(FIELDS, priced.band.prices, strict=True))
    rows: list[Sequence[Value]] = []
    total = 0
    for kind, plain in (("cache_read", "input"), ("cache_write_short", "input"),
                        ("cache_write_long", "input"), ("audio_cache_read", "audio_input")):  # fmt: skip
        tokens, full, paid = call[LEAF_OF[kind]], prices[plain] or 0, prices[kind] or 0
        if not tokens:
            continue
        saved = tokens * (full - paid)
        total += saved
        rate = f"{shown(full, 'pico_usd_per_token')} − {shown(paid, 'pico_usd_per_token')}"
        rows.append([kind, tokens, rate, saved])
    if not rows:
        return None
    check = _equal("The sum is the stored saving", total, call["cache_saved_pico"])
    columns = (Column("Part"), Column("Tokens", "count"), Column("Per million"),
               Column("Saved", "pico_usd"))  # fmt: skip
    rows.append(["total", None, None, total])
    word = "saved" if total >= 0 else "cost more than it saved, by"
    says = f"The cache {word} {usd(abs(total))}, against the same tokens uncached."
    return Step(
        "savings", "Cache savings", says, check.verdict, (), [Table(columns, rows)], [check]
    )
