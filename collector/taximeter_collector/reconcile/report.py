"""A comparison → text for people, JSON, CSV. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from taximeter.cli.query import as_csv, as_table
from taximeter_collector.reconcile.cells import sums
from taximeter_collector.reconcile.compare import Comparison, Finding
from taximeter_collector.reconcile.gap import PARTS
from taximeter_collector.reconcile.rows import CLASSES

PICO: Final = 10**12
_SHOWN_LINES: Final = 20
_WORDS: Final = {"not_split": "not split"}


def as_text(comparison: Comparison, sentence: str) -> str:
    """Return the report for people."""
    lines = [*_coverage_lines(comparison), ""]
    names = ["day", "provider", "model", "tier", "theirs $", "ours $", "gap $",
             *(f"{_WORDS.get(part, part)} $" for part in PARTS), "calls theirs/ours"]  # fmt: skip
    rows = [_table_row(finding) for finding in comparison.findings]
    total = totals(comparison.findings)
    rows.append(
        ["total", "", "", "", _usd(total["provider_cost_pico"]), _usd(total["our_cost_pico"]),
         _usd(total["gap_pico"]), *(_usd(total["parts"][part]) for part in PARTS), ""]
    )  # fmt: skip
    lines += [as_table(names, rows).rsplit("\n(", 1)[0], ""]
    for finding in comparison.findings:
        lines += _why_lines(finding)
    lines += _listed("Ignored", [f"{one.where}: {one.reason}" for one in comparison.export.ignored])
    lines += _listed("Notes", comparison.export.notes)
    return "\n".join([*map(_printable, lines), sentence, ""])


def as_json(comparison: Comparison) -> str:
    """Return the whole comparison as one object; money is pico-USD beside USD."""
    found = {
        "is_within_tolerance": comparison.is_fine,
        "coverage": coverage(comparison),
        "totals": totals(comparison.findings),
        "cells": [_object(finding) for finding in comparison.findings],
        "ignored": [
            {"where": one.where, "reason": one.reason} for one in comparison.export.ignored
        ],
        "notes": comparison.export.notes,
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def as_lines(comparison: Comparison) -> str:
    """Return one CSV line a cell and kind of unit, and one (kind `cost`) for the money."""
    names = ["day", "provider", "model", "tier", "unit", "theirs", "ours", "gap",
             *PARTS, "is_within_tolerance"]  # fmt: skip
    rows: list[list[Any]] = []
    for finding in comparison.findings:
        cell, gap = finding.cell, finding.gap
        head = [f"{cell.day.date}", cell.provider, cell.model, cell.tier]
        parts = [getattr(gap, part) for part in PARTS]
        rows.append([*head, "pico_usd", cell.cost_pico, cell.held_cost_pico, gap.gap, *parts,
                     finding.is_within])  # fmt: skip
        for name in CLASSES:
            theirs, ours = (cell.tokens or {}).get(name), cell.held.get(name, 0)
            if theirs or ours:
                by_part = [_tokens_of(finding, part, name) for part in PARTS]
                lack = None if cell.tokens is None else (theirs or 0) - ours
                rows.append([*head, name, theirs, ours, lack, *by_part, finding.is_within])
    return as_csv(names, rows)


def coverage(comparison: Comparison) -> dict[str, Any]:
    """Return what was compared with what, and what was left out."""
    days, export = comparison.days, comparison.export
    providers = {}
    for provider in sorted({day.provider for day in days}):
        own = [day for day in days if day.provider == provider]
        providers[provider] = {
            "from": own[0].parts[0][0].isoformat(),
            "to": own[-1].parts[-1][1].isoformat(),
            "days": len(own),
            "days_with_usage": sum(day.has_usage for day in own),
            "days_with_cost": sum(day.has_cost for day in own),
            "days_in_part": sum(not day.is_whole for day in own),
        }
    compared = sums(finding.cell for finding in comparison.findings)
    return {
        "providers": providers,
        "files": export.files,
        "rows": len(export.rows),
        "rows_ignored": len(export.ignored),
        "rows_outside_the_window": comparison.outside,
        **compared,
        "calls_no_export_tells_of": sums(comparison.untold)["calls"],
        "calls_without_a_provider": comparison.unplaced_calls,
    }


def totals(findings: Iterable[Finding]) -> dict[str, Any]:
    """Return the sums of the cells; a part that no cell knows is None."""
    findings = list(findings)
    parts = {part: _sum(getattr(finding.gap, part) for finding in findings) for part in PARTS}
    return {
        "provider_cost_pico": _sum(finding.cell.cost_pico for finding in findings),
        "our_cost_pico": sum(finding.cell.held_cost_pico for finding in findings),
        "gap_pico": sum(finding.gap.gap for finding in findings),
        "gap_usd": sum(finding.gap.gap for finding in findings) / PICO,
        "parts": parts,
    }


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _object(finding: Finding) -> dict[str, Any]:
    cell, gap = finding.cell, finding.gap
    groups = [] if cell.is_item else cell.stored
    return {
        "day": f"{cell.day.date}",
        "provider": cell.provider,
        "model": cell.model,
        "tier": cell.tier,
        "is_item": cell.is_item,
        "theirs": {
            "tokens": cell.tokens,
            "requests": cell.requests,
            "cost_pico": cell.cost_pico,
            "cost_usd": None if cell.cost_pico is None else cell.cost_pico / PICO,
            "cost_pico_by_unit": {name: cost for name, cost in cell.class_costs.items() if name},
            "rounding_pico": cell.rounding_pico,
            "rows": cell.rows,
        },
        "ours": {
            "tokens": cell.held,
            "calls": cell.calls,
            "cost_pico": cell.held_cost_pico,
            "cost_usd": cell.held_cost_pico / PICO,
            "calls_without_sound_usage": sum(group.doubtful for group in groups),
            "calls_without_a_price": sum(group.unpriced for group in groups),
        },
        "gap_pico": gap.gap,
        "gap_usd": gap.gap / PICO,
        "is_within_tolerance": finding.is_within,
        "parts": {part: _part(finding, part) for part in PARTS},
        "unit_prices_pico": finding.unit_prices,
        "provider_unit_prices_pico": _provider_prices(finding),
    }


def _part(finding: Finding, part: str) -> dict[str, Any]:
    amount = getattr(finding.gap, part)
    said = finding.cell.moved.tokens if part == "timing" else finding.gap.tokens.get(part)
    tokens = {name: said[name] for name in CLASSES if name in said} if said else {}
    return {
        "pico": amount,
        "usd": None if amount is None else amount / PICO,
        "tokens": tokens,
        "why": _why(finding, part),
        **finding.behind.get(part, {"sql": None, "spans": []}),
    }


def _why(finding: Finding, part: str) -> str | None:
    if part == "timing" and finding.cell.moved_spans:
        calls = finding.cell.moved.requests or 0
        side = "this" if calls > 0 else "another"
        return (
            f"{abs(calls)} of our calls at the day's edge are on {side} day in the provider's books"
        )
    if part == "price" and finding.gap.price:
        unpriced = sum(group.unpriced for group in finding.cell.stored)
        if not unpriced and (differing := _differing_prices(finding)):
            return f"same units, other unit price: {', '.join(differing)}"
        return (
            f"{unpriced} of our calls have no price" if unpriced else "same units, other unit price"
        )
    return finding.gap.reasons.get(part)


def _provider_prices(finding: Finding) -> dict[str, float]:
    """Return what the provider took for a unit, where its costs are told by kind of unit."""
    tokens = finding.cell.tokens or {}
    return {n: cost / tokens[n] for n, cost in finding.cell.class_costs.items() if tokens.get(n)}


def _differing_prices(finding: Finding) -> list[str]:
    return [
        f"{name} at {theirs / 10**6:.6g} instead of {ours / 10**6:.6g} USD per 1M"
        for name, theirs in _provider_prices(finding).items()
        if (ours := finding.unit_prices.get(name)) and abs(theirs / ours - 1) > 0.001
    ]


def _tokens_of(finding: Finding, part: str, name: str) -> int:
    tokens: Mapping[str, int] | None = finding.gap.tokens.get(part)
    if part == "timing":
        tokens = finding.cell.moved.tokens
    return (tokens or {}).get(name, 0)


def _coverage_lines(comparison: Comparison) -> list[str]:
    told = coverage(comparison)
    lines = [
        f"{name}: {one['from'][:16]} to {one['to'][:16]} UTC, {one['days']} days"
        f" ({one['days_with_usage']} with usage, {one['days_with_cost']} with cost)"
        for name, one in told["providers"].items()
    ]
    rows = (
        f"{told['rows']} export rows from {told['files']} files,"
        f" {told['rows_ignored']} ignored, {told['rows_outside_the_window']} outside the window"
    )
    calls = (
        f"{told['calls']} stored calls: {told['calls_without_sound_usage']} without sound usage,"
        f" {told['calls_without_a_price']} without a price;"
        f" left out: {told['calls_no_export_tells_of']} that no export tells of,"
        f" {told['calls_without_a_provider']} without a provider"
    )
    return [*lines, rows, calls]


def _table_row(finding: Finding) -> list[Any]:
    cell, gap = finding.cell, finding.gap
    theirs = "?" if cell.requests is None else cell.requests
    calls = "" if cell.is_item else f"{theirs}/{cell.calls}"
    parts = [_usd(getattr(gap, part)) for part in PARTS]
    return [
        f"{cell.day.date}", cell.provider, cell.model or "(all)", cell.tier or ("" if cell.is_item else "(all)"),
        _usd(cell.cost_pico), _usd(cell.held_cost_pico), _usd(gap.gap), *parts, calls,
    ]  # fmt: skip


def _printable(text: str) -> str:
    """Return a line with what a terminal would obey shown, not sent; names come from files.

    >>> _printable("a\\x1b[2Jb")
    'a\\\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def _usd(pico: int | None) -> str:
    """Return dollars to the micro-dollar; a dash for what is not known."""
    return "-" if pico is None else f"{pico / PICO:.6f}"


def _why_lines(finding: Finding) -> list[str]:
    cell = finding.cell
    head = (
        f"{cell.day.date} {cell.provider} {cell.model or '(all models)'} {cell.tier or ''}".strip()
    )
    lines = []
    for part in PARTS:
        told = _part(finding, part)
        if not told["why"] or (told["pico"] == 0 and not told["tokens"]):
            continue
        tokens = ", ".join(f"{name} {count:+,}" for name, count in told["tokens"].items() if count)
        lines.append(f"  {_WORDS.get(part, part)}: {told['why']}{f' ({tokens})' if tokens else ''}")
        spans = " ".join(f"{one['trace_id']}/{one['span_id']}" for one in told["spans"][:3])
        lines += [f"    spans {spans}"] * bool(spans)
        lines += [f"    sql   {told['sql']}"] * bool(told["sql"])
    return [head, *lines, ""] if lines else []


def _listed(title: str, lines: list[str]) -> list[str]:
    if not lines:
        return []
    more = [f"  … and {len(lines) - _SHOWN_LINES} more (--json lists all)"]
    shown = [f"  {line}" for line in lines[:_SHOWN_LINES]]
    return [f"{title}:", *shown, *more * (len(lines) > _SHOWN_LINES), ""]
