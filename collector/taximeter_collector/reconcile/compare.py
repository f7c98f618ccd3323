"""The flow: exports and stored calls in, one finding a cell out, with the calls behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from taximeter.pricing import Catalog
from taximeter_collector.reconcile.boundary import COST, REQUESTS, EdgeCall, count_moved
from taximeter_collector.reconcile.cells import Cell, Cells, Key, covered_span, spellings
from taximeter_collector.reconcile.days import Day, covered_days, edges
from taximeter_collector.reconcile.gap import PARTS, Gap, Side, split_gap
from taximeter_collector.reconcile.rows import Export, ExportError
from taximeter_collector.reconcile.stored import Stored, statement
from taximeter_collector.reconcile.unit_prices import unit_prices

MAX_LOOKED_UP: Final = 200
"""Parts whose calls are looked up; the SQL stands with every part."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a gap may be: a share of the provider's amount, or an amount."""

    share: Decimal = Decimal("0.01")
    pico: int = 0

    def allows(self, gap: int, amount: int) -> bool:
        """Return whether a gap is small enough."""
        return abs(gap) <= max(self.pico, int(self.share * abs(amount)))


@dataclass(slots=True)
class Finding:
    """A cell, its gap, and what stands behind each part."""

    cell: Cell
    gap: Gap
    unit_prices: dict[str, int]
    is_within: bool
    behind: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Part → `sql` and the first `spans`."""


@dataclass(slots=True)
class Comparison:
    """Everything that a report says."""

    export: Export
    days: list[Day]
    findings: list[Finding]
    untold: list[Cell]
    outside: int
    unplaced_calls: int

    @property
    def is_fine(self) -> bool:
        """Whether every gap is within the tolerance and nothing was left unread."""
        return all(f.is_within for f in self.findings) and not any(
            not one.is_harmless for one in self.export.ignored
        )


def compare(
    export: Export,
    stored: Stored,
    catalog: Catalog,
    tolerance: Tolerance,
    *,
    first: date | None = None,
    last: date | None = None,
    latency: timedelta = timedelta(minutes=5),
) -> Comparison:
    """Return the comparison of all covered days. Raises ExportError, QueryError."""
    days = covered_days(export, first, last)
    if not days:
        raise ExportError("The files cover no day of the window: look at --from, --to and --days.")
    cells = Cells(catalog, export, days)
    for day in days:
        for start, end in day.parts:
            cells.take_calls(stored.calls(day.provider, start, end))
    cells.settle()
    for provider in sorted({day.provider for day in days}):
        own = [day for day in days if day.provider == provider]
        for edge, before, after in edges(own):
            _book(cells, stored.edge_calls(provider, edge, latency), provider, before, after)
    findings = [_finding(catalog, cell, tolerance) for cell in cells.told()]
    _look_behind(stored, findings)
    export.notes += _unmatched(catalog, findings)
    unplaced = stored.unplaced(days[0].parts[0][0], max(day.parts[-1][1] for day in days))
    return Comparison(export, days, findings, cells.untold(), cells.outside, unplaced)


def _book(
    cells: Cells,
    near: Iterable[tuple[dict[str, Any], EdgeCall]],
    provider: str,
    before: Day | None,
    after: Day | None,
) -> None:
    """Move the calls near an edge that the provider counts on its other side."""
    groups: dict[Key, list[EdgeCall]] = {}
    start = None if before is None else before.parts[0][0]
    for names, call in near:
        if start is not None and names["start_time"] < start:
            continue
        tier = cells.tier_of(names["tier"], names["is_batch"])
        day = before.date if before else after.date if after else names["start_time"].date()
        groups.setdefault(cells.key_of(day, provider, names["model_name"], tier), []).append(call)
    for key, calls in groups.items():
        left = cells.at((before.date, *key[1:])) if before else None
        right = cells.at((after.date, *key[1:])) if after else None
        moved = calls[: count_moved(calls, _residual(left), _residual(right))]
        if moved:
            _move(left, moved, -1)
            _move(right, moved, 1)


def _residual(cell: Cell | None) -> dict[str, int] | None:
    if cell is None or not cell.is_told:
        return None
    if cell.tokens is None:
        cost = (cell.cost_pico or 0) - cell.held_cost_pico - (cell.moved.cost_pico or 0)
        return {COST: cost}
    names = cell.tokens.keys() | cell.held.keys()
    moved = cell.moved.tokens or {}
    lack = {n: cell.tokens.get(n, 0) - cell.held.get(n, 0) - moved.get(n, 0) for n in names}
    if cell.requests is not None:
        lack[REQUESTS] = cell.requests - cell.calls - (cell.moved.requests or 0)
    return lack


def _move(cell: Cell | None, calls: Sequence[EdgeCall], sign: int) -> None:
    if cell is None:
        return
    tokens = dict(cell.moved.tokens or {})
    for call in calls:
        for name, count in call.tokens.items():
            tokens[name] = tokens.get(name, 0) + sign * count
    cell.moved = Side(
        tokens,
        (cell.moved.requests or 0) + sign * len(calls),
        (cell.moved.cost_pico or 0) + sign * sum(call.cost_pico for call in calls),
    )
    cell.moved_spans += [(call.trace_id, call.span_id) for call in calls]


def _finding(catalog: Catalog, cell: Cell, tolerance: Tolerance) -> Finding:
    prices = unit_prices(catalog, cell)
    gap = split_gap(cell.theirs, cell.ours, cell.moved, prices, cell.doubtful)
    rest = gap.gap - gap.timing
    amount = cell.held_cost_pico if cell.cost_pico is None else cell.cost_pico
    blind = cell.cost_pico is None and "not_split" in gap.reasons
    within = not blind and (abs(rest) <= cell.rounding_pico or tolerance.allows(rest, amount))
    return Finding(cell, gap, prices, within)


def _look_behind(stored: Stored, findings: Sequence[Finding]) -> None:
    parts = [
        (abs(getattr(finding.gap, part) or 0), number, part)
        for number, finding in enumerate(findings)
        for part in PARTS
        if getattr(finding.gap, part) or part in finding.gap.tokens
    ]
    for rank, (_, number, part) in enumerate(sorted(parts, reverse=True)):
        finding = findings[number]
        name, values = _question(finding, part)
        has_spans = name != "behind_hours" and rank < MAX_LOOKED_UP
        spans = stored.first_spans(name, values) if has_spans else []
        finding.behind[part] = {"sql": statement(name, values), "spans": spans}


def _question(finding: Finding, part: str) -> tuple[str, dict[str, Any]]:
    cell = finding.cell
    start, end = covered_span(cell)
    if part == "timing":
        spans = [span_id for _, span_id in cell.moved_spans]
        return "behind_edge", {"from": start - timedelta(days=1), "spans": spans}
    asked = {"provider": cell.provider, "from": start, "to": end, **spellings(cell)}
    # Calls that only the provider has have no spans: what we do hold tells which hours lack some.
    lacks = part == "untracked" and finding.gap.untracked >= 0
    return ("behind_hours" if lacks else "behind_calls"), asked


def _unmatched(catalog: Catalog, findings: Sequence[Finding]) -> list[str]:
    """Return a sentence a model that one side alone names."""
    notes: dict[tuple[str, str], str] = {}
    both = {(f.cell.provider, f.cell.model) for f in findings if f.cell.calls and f.cell.rows}
    for finding in findings:
        cell = finding.cell
        if cell.is_item or cell.model is None or (cell.provider, cell.model) in both:
            continue
        alias = "add an [[alias]] for it to prices.toml, or send its calls to the collector"
        if cell.calls:
            text = f"{cell.provider}: only stored calls name {cell.model}; the export has no row of it."
        elif catalog.resolve(cell.provider, cell.model) is None:
            text = f"{cell.rows[0]}: {cell.model} is in no price list and no stored call names it: {alias}."
        else:
            text = f"{cell.rows[0]}: no stored call names {cell.model}: all of it is untracked."
        notes.setdefault((cell.provider, cell.model), text)
    return list(notes.values())


def window(
    days: int | None, first: date | None, last: date | None, now: datetime
) -> tuple[date | None, date | None]:
    """Return first and last day to compare; `days` counts back from yesterday."""
    if days is None:
        return first, last
    end = last or now.date() - timedelta(days=1)
    return end - timedelta(days=days - 1), end
