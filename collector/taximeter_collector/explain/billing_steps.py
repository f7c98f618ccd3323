"""Whose call it is and which row of the price list holds. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from taximeter.pricing import Band, Catalog, Cost, Resolution
from taximeter.pricing.band_words import when
from taximeter.usage import Usage, normalise_usage, open_usage
from taximeter_collector.explain.evidence import Evidence
from taximeter_collector.explain.proof import (
    Fact,
    Link,
    Step,
    Verdict,
    count,
    shown,
    worst,
)
from taximeter_collector.explain.reading_steps import usage_shape

_SPAN_ID: Final = re.compile(r"\b[0-9a-f]{16}\b")


@dataclass(frozen=True, slots=True)
class Priced:
    """The price list's answer for a call."""

    named: str | None = None
    """The model string that was looked up."""
    entry: Resolution | None = None
    band: Band | None = None
    others: Sequence[tuple[str, Usage, Cost | None]] = ()
    """What the call spent on other models: model, tokens, cost at its own price."""


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
            others = catalog.price_others(_own_usage(evidence), entry, at)
            return Priced(name, entry, next(bands, None), others)
    return Priced()


def _own_usage(evidence: Evidence) -> Usage:
    """Return the provider's usage object where it was read; only that speaks of other models."""
    if not evidence.reading.raw_decides:
        return Usage()
    raw = evidence.reading.candidates["usage_raw"][0]
    return normalise_usage(usage_shape(evidence.reading), open_usage(raw.value))


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
    facts += [Fact("Holds", when(priced.band)), Fact("Source", priced.band.provenance),
              Fact("Price list", call["price_version"])]  # fmt: skip
    says = f"{provider} {entry.model}, {entry.context}."
    verdict = worst(
        ["note" if entry.match_quality == "prefix" else "ok", _drift(call, facts, priced)]
    )
    return Step("price", "Price row", says, verdict, facts)


def _drift(call: Mapping[str, Any], facts: list[Fact], priced: Priced) -> Verdict:
    stored = call["price_source"]
    if stored is None or priced.band is None or call["cost_quality"] == "reported":
        return "ok"
    if stored.partition("; ")[0] == priced.band.provenance.partition("; ")[0]:
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
