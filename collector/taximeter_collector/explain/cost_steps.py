"""What a call costs: the arithmetic to the pico-USD, what the cache saved, what is missing. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from taximeter.pricing import FIELDS
from taximeter_collector.explain.billing_steps import Priced
from taximeter_collector.explain.evidence import Evidence
from taximeter_collector.explain.proof import (
    Check,
    Column,
    Fact,
    Step,
    Table,
    Value,
    Verdict,
    shown,
    usd,
    worst,
)

QUALITY: Final = {
    "exact": "priced part by part at list price",
    "aggregate": "priced from a total: the calls below it were not reported",
    "assumed_ttl": "cache life assumed: the write's length was not reported",
    "assumed_uncached": "as if nothing was cached: the sender does not say what was",
    "assumed_tier": "the tier's price was not listed at that time: today's ratio to standard",
    "reported": "as the sender reported it",
    "unpriced": "a price, or a count to price, is not known",
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
    "input": "input", "cache_read": "cache_read", "cache_write_short": "cache_write",
    "cache_write_long": "cache_write", "output": "output",
}  # fmt: skip
_MUST_BE_KNOWN: Final = ("input", "cache_read", "cache_write_short", "cache_write_long", "output")
_CACHED: Final = (("cache_read", "input"), ("cache_write_short", "input"),
                  ("cache_write_long", "input"), ("audio_cache_read", "audio_input"))  # fmt: skip
_LONG_WRITES: Final = re.compile(r"; cache writes live (1h|12h) ")
"""As `sql/derive/30_price.sql` names the user's rule."""
Prices = Mapping[str, int | None]


def priced_tokens(call: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the units of each kind that are priced.

    What is unknown of the cache is priced as uncached, a write of unknown lifetime as the user's
    rule in ``price_source`` says, else as short.
    """
    tokens: dict[str, int | None] = {kind: call[leaf] for kind, leaf in LEAF_OF.items()}
    if (unclassified := call["unclassified_input_tokens"]) is not None:
        tokens["input"] = (tokens["input"] or 0) + unclassified
        tokens["cache_read"] = tokens["cache_read"] or 0
        if tokens["cache_write_short"] is None or tokens["cache_write_long"] is None:
            written, is_long = (
                call["cache_write_tokens"] or 0,
                _LONG_WRITES.search(call["price_source"] or "") is not None,
            )
            tokens["cache_write_short"] = 0 if is_long else written
            tokens["cache_write_long"] = written if is_long else 0
    return tokens


def arithmetic_step(evidence: Evidence, priced: Priced) -> Step:
    """Multiply each count by its price, add up, and compare with what is stored."""
    call = evidence.call or {}
    if call["cost_quality"] == "reported":
        return _stated_step(call, priced)
    if call["cost_pico"] is None:
        return _unpriced_step(evidence, priced)
    if call["cost_pico"] == 0 and call["total_tokens"] is None:
        says = "$0: the provider refused the call before it produced anything, and bills nothing."
        return Step("arithmetic", "Arithmetic", says, "ok", _beside(call))
    if priced.band is None:
        says = f"Stored as {usd(call['cost_pico'])}; the price files of this machine have no price for it."
        return Step("arithmetic", "Arithmetic", says, "failed", _beside(call))
    table, total = _sum_up(call, priced)
    checks = [_equal("The sum is the stored cost", total, call["cost_pico"]),
              _parts_check(_parts(call, priced), call)]  # fmt: skip
    verdict = worst([*(check.verdict for check in checks), _quality_verdict(call)])
    is_equal = all(check.verdict == "ok" for check in checks)
    says = f"{usd(total)}, equal to the stored cost to the pico-USD." if is_equal else (
        f"The parts add up to {usd(total)}, and {usd(call['cost_pico'])} is stored: the price files"
        " have changed since it was priced, or this machine's differ from the collector's."
    )  # fmt: skip
    facts = [*_reasoning_cost(call, prices_of(priced)), *_beside(call)]
    return Step("arithmetic", "Arithmetic", says, verdict, facts, [table], checks)


def _stated_step(call: Mapping[str, Any], priced: Priced) -> Step:
    """The sender's own cost counts; what the tokens come to is shown beside it."""
    stated = round((call["cost_reported_usd"] or 0) * 1e12)
    checks = [_equal("The stated cost is the stored cost", stated, call["cost_pico"])]
    tables = []
    if call["cost_computed_pico"] is not None and priced.band is not None:
        table, total = _sum_up(call, priced)
        tables.append(table)
        checks.append(
            _equal("The tokens come to what is stored", total, call["cost_computed_pico"])
        )
    says = f"{shown(call['cost_pico'], 'pico_usd')}, as the sender states it, counts here."
    facts = [Fact("Because", call["price_source"]),
             Fact("From the tokens", call["cost_computed_pico"], "pico_usd"), *_beside(call)]  # fmt: skip
    verdict = worst(["note", *(check.verdict for check in checks)])
    return Step("arithmetic", "Arithmetic", says, verdict, facts, tables, checks)


def prices_of(priced: Priced) -> Prices:
    """Return the pico-USD of each kind of token, None where there is no price."""
    held = priced.band.prices if priced.band is not None else (None,) * len(FIELDS)
    return dict(zip(FIELDS, held, strict=True))


def _sum_up(call: Mapping[str, Any], priced: Priced) -> tuple[Table, int]:
    prices = prices_of(priced)
    rows: list[Sequence[Value]] = [
        [
            kind,
            priced_tokens(call)[kind],
            _price_text(kind, prices[kind]),
            _cost(kind, call, prices),
        ]
        for kind in FIELDS
        if priced_tokens(call)[kind]
    ]
    rows += [
        [f"on {model}", usage.total_tokens, None, cost.total_pico if cost else None]
        for model, usage, cost in priced.others
    ]
    total = sum(_parts(call, priced).values())
    rows.append(["total", call["total_tokens"], None, total])
    columns = (Column("Part"), Column("Tokens", "count"), Column("Per million"),
               Column("Cost", "pico_usd"))  # fmt: skip
    return Table(columns, rows), total


def _cost(kind: str, call: Mapping[str, Any], prices: Prices) -> int:
    return int(priced_tokens(call)[kind] or 0) * (prices[kind] or 0)


def _parts(call: Mapping[str, Any], priced: Priced) -> dict[str, int]:
    """Return pico-USD by stored part, other models' included."""
    prices = prices_of(priced)
    parts = dict.fromkeys(("input", "cache_read", "cache_write", "output", "other"), 0)
    for kind in FIELDS:
        parts[_PART_OF.get(kind, "other")] += _cost(kind, call, prices)
    for _, _, cost in priced.others:
        for part in parts:
            parts[part] += getattr(cost, f"{part}_pico") if cost else 0
    return parts


def _parts_check(ours: Mapping[str, int], call: Mapping[str, Any]) -> Check:
    wrong = [
        f"{part} {usd(cost)}, stored {shown(call[f'{part}_cost_pico'], 'pico_usd')}"
        for part, cost in ours.items()
        if cost != call[f"{part}_cost_pico"]
    ]
    right = [f"{part} {usd(cost)}" for part, cost in ours.items() if cost]
    return Check(
        "Each part is the stored part", "failed" if wrong else "ok", "; ".join(wrong or right)
    )


def _price_text(kind: str, pico: int | None) -> str:
    if kind == "web_search":
        return f"{shown(pico, 'pico_usd_per_search')} / 1k"
    return shown(pico, "pico_usd_per_token")


def _equal(claim: str, ours: int, stored: int | None) -> Check:
    if stored == ours:
        return Check(claim, "ok", usd(ours))
    return Check(claim, "failed", f"{usd(ours)}, stored {shown(stored, 'pico_usd')}")


def _quality_verdict(call: Mapping[str, Any]) -> Verdict:
    return "ok" if call["cost_quality"] == "exact" else "note"


def _reasoning_cost(call: Mapping[str, Any], prices: Prices) -> list[Fact]:
    tokens, price = call["reasoning_tokens"], prices["output"]
    if not tokens or price is None:
        return []
    return [Fact(f"of which reasoning ({shown(tokens, 'count')})", tokens * price, "pico_usd")]


def _beside(call: Mapping[str, Any]) -> list[Fact]:
    """Return how sure the cost is, what it was before, and what the sender says that it was."""
    quality = call["cost_quality"]
    facts = [Fact("Quality", f"{quality}: {QUALITY.get(quality, 'see docs/prices.md')}",
                  verdict=_quality_verdict(call))]  # fmt: skip
    if call["first_cost_pico"] is not None:
        facts.append(Fact(f"First priced by {call['first_price_source']}", call["first_cost_pico"],
                          "pico_usd", "note"))  # fmt: skip
    reported = call["cost_reported_usd"]
    if reported is None:
        return facts
    text = f"${reported:.12f}".rstrip("0").rstrip(".")
    ours = call["cost_computed_pico"] or call["cost_pico"]
    if not ours:
        return [*facts, Fact("Sender's own cost", text)]
    drift = reported * 1e12 / int(ours) - 1
    return [*facts, Fact("Sender's own cost", f"{text} ({drift:+.2%} against ours)",
                         verdict="note" if abs(drift) > 0.02 else "ok")]  # fmt: skip


def _unpriced_step(evidence: Evidence, priced: Priced) -> Step:
    call = evidence.call or {}
    missing = []
    unknown = [LEAF_OF[kind] for kind in _MUST_BE_KNOWN if priced_tokens(call)[kind] is None]
    if unknown:
        missing.append(f"the count of {', '.join(unknown)}")
    if priced.entry is None:
        missing.append("a price of the model")
    elif priced.band is None:
        missing.append("a price at that time")
    else:
        prices = prices_of(priced)
        missing += [
            f"a price of {kind}"
            for kind in FIELDS
            if priced_tokens(call)[kind] and prices[kind] is None
        ]
        missing += [f"a price of {model}" for model, _, cost in priced.others if cost is None]
    says = f"No cost: {' and '.join(missing) or 'it was priced by other price files'}"
    says += " is missing." if missing else "."
    facts = [*_beside(call), Fact("Tokens", call["total_tokens"], "count")]
    is_half_told = call["prompt_tokens"] is not None and call["output_tokens"] is None
    if evidence.how_to_price and not is_half_told:
        facts.append(Fact("What to do", evidence.how_to_price))
    return Step("arithmetic", "Arithmetic", says, "note", facts)


def savings_step(evidence: Evidence, priced: Priced) -> Step | None:
    """Say what the cache saved against the same tokens uncached; None where nothing was cached."""
    call = evidence.call or {}
    if priced.band is None or call["cache_saved_pico"] is None:
        return None
    prices = prices_of(priced)
    rows: list[Sequence[Value]] = []
    total = 0
    for kind, plain in _CACHED:
        tokens, full, paid = priced_tokens(call)[kind], prices[plain] or 0, prices[kind] or 0
        if tokens:
            total += tokens * (full - paid)
            rate = f"{shown(full, 'pico_usd_per_token')} − {shown(paid, 'pico_usd_per_token')}"
            rows.append([kind, tokens, rate, tokens * (full - paid)])
    for model, _, cost in priced.others:
        if cost and cost.cache_saved_pico:
            total += cost.cache_saved_pico
            rows.append([f"on {model}", None, None, cost.cache_saved_pico])
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
