"""Both sides side by side: rows of the export and stored calls → cells of day × model × tier. Pure.

A cell is as fine as every export of its provider is grouped: without models or tiers in one of
them there is one cell for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from taximeter.pricing import Catalog
from taximeter_collector.reconcile.days import Day
from taximeter_collector.reconcile.gap import Side
from taximeter_collector.reconcile.names import model_name, tier_name
from taximeter_collector.reconcile.rows import (
    COMPLETIONS,
    EMBEDDINGS,
    SEARCHES,
    WEB_SEARCH,
    Export,
    ExportRow,
)
from taximeter_collector.reconcile.stored import StoredCalls

NOT_IN_COSTS: Final = frozenset({("anthropic", "priority")})
"""Tiers whose cost the provider leaves out of its cost report (its documentation says so)."""
Key = tuple[date, str, str | None, str | None, bool]
"""day, provider, model or item, tier, is an item that is no model"""


@dataclass(frozen=True, slots=True)
class Grouping:
    """How fine the exports of a provider are."""

    by_model: bool
    by_tier: bool


@dataclass(slots=True)
class Cell:
    """One day, model and tier, as both sides tell it."""

    day: Day
    provider: str
    model: str | None
    """None = all models; an item's name where ``is_item``."""
    tier: str | None
    is_item: bool = False
    tokens: dict[str, int] | None = None
    requests: int | None = None
    cost_pico: int | None = None
    class_costs: dict[str, int] = field(default_factory=dict)
    rounding_pico: int = 0
    rows: list[str] = field(default_factory=list)
    spelled: set[str] = field(default_factory=set)
    stored: list[StoredCalls] = field(default_factory=list)
    calls: int = 0
    held: dict[str, int] = field(default_factory=dict)
    held_cost_pico: int = 0
    moved_spans: list[tuple[str, str]] = field(default_factory=list)
    moved: Side = field(default_factory=lambda: Side({}, 0, 0))

    @property
    def theirs(self) -> Side:
        """What the provider says."""
        return Side(self.tokens, self.requests, self.cost_pico)

    @property
    def ours(self) -> Side:
        """What is stored, each call on the day it started."""
        return Side(self.held, self.calls, self.held_cost_pico)

    @property
    def doubtful(self) -> int:
        """How many of our calls have no sound usage."""
        return 0 if self.is_item else sum(group.doubtful for group in self.stored)

    @property
    def is_empty(self) -> bool:
        """Whether neither side has anything in it."""
        theirs = (*(self.tokens or {}).values(), self.requests, self.cost_pico)
        return not any((*theirs, self.calls, *self.held.values(), self.moved_spans))

    @property
    def is_told(self) -> bool:
        """Whether an export tells anything of the cell."""
        return self.tokens is not None or self.cost_pico is not None


def groupings(export: Export) -> dict[str, Grouping]:
    """Return how fine the cells of each provider can be; adds a note where that is not all."""
    found = {}
    for provider in {row.provider for row in export.rows}:
        rows = [row for row in export.rows if row.provider == provider and row.item is None]
        by_model = all(row.model is not None for row in rows)
        by_tier = all(
            row.tier is not None for row in rows if row.endpoint != EMBEDDINGS
        ) and _same_tiers(rows)
        found[provider] = Grouping(by_model, by_tier)
        for name, is_grouped in (("model", by_model), ("tier", by_tier)):
            if not is_grouped:
                export.notes.append(
                    f"{provider}: not every export is grouped by {name}, so all are one cell:"
                    f" ask the API for group_by {name} to see them apart."
                )
    return found


def _same_tiers(rows: Sequence[ExportRow]) -> bool:
    used = {(r.provider, r.tier) for r in rows if r.kind == "usage" and any(r.tokens.values())}
    paid = {(r.provider, r.tier) for r in rows if r.kind == "cost"}
    return not paid or used - NOT_IN_COSTS <= paid


class Cells:
    """All cells of one report."""

    def __init__(self, catalog: Catalog, export: Export, days: Iterable[Day]) -> None:
        self._catalog, self._export = catalog, export
        self._groupings = groupings(export)
        self._days = {(day.provider, day.date): day for day in days}
        self.cells: dict[Key, Cell] = {}
        self.outside = 0
        """Rows of the export on days that are not compared."""
        for row in export.rows:
            self._take_row(row)

    def take_calls(self, groups: Iterable[StoredCalls]) -> None:
        """Add our side."""
        for group in groups:
            cell = self._cell(
                group.provider, group.day, group.model, self.tier_of(group.tier, group.is_batch)
            )
            cell.stored.append(group)
            cell.calls += group.calls
            cell.held_cost_pico += group.cost_pico
            for name, count in group.tokens.items():
                if name != "web_search":
                    cell.held[name] = cell.held.get(name, 0) + count
            if searches := group.tokens.get("web_search"):
                item = self._item(group.provider, group.day, WEB_SEARCH)
                item.stored.append(group)
                item.calls += searches
                item.held["web_search"] = item.held.get("web_search", 0) + searches
                item.held_cost_pico += group.search_pico

    def key_of(self, day: date, provider: str, model: str, tier: str) -> Key:
        """Return the cell that a call of ours belongs to."""
        grouping = self._groupings.get(provider, Grouping(True, True))
        name = model_name(self._catalog, provider, model) if grouping.by_model else None
        return (day, provider, name, tier if grouping.by_tier else None, False)

    @staticmethod
    def tier_of(tier: str, is_batch: bool) -> str:
        """Return a stored call's tier as the cells name it."""
        return tier_name(tier, batch=is_batch)

    def told(self) -> list[Cell]:
        """Return the cells in order, what the exports tell nothing of left out."""
        cells = [cell for cell in self.cells.values() if cell.is_told and not cell.is_empty]
        return sorted(cells, key=_order)

    def untold(self) -> list[Cell]:
        """Return the cells of ours of which no export tells anything."""
        return [cell for cell in self.cells.values() if not cell.is_told]

    def settle(self) -> None:
        """Say zero for what the exports cover and do not name. Call it when both sides are in."""
        for cell in self.cells.values():
            self._fill(cell)

    def at(self, key: Key) -> Cell:
        """Return a settled cell, made where neither side named it."""
        cell = self._at(key)
        self._fill(cell)
        return cell

    def _take_row(self, row: ExportRow) -> None:
        day = self._days.get((row.provider, row.start.date()))
        if day is None or (row.kind == "usage" and not day.has_usage):
            self.outside += 1
            return
        if row.kind == "cost" and not day.has_cost:
            self.outside += 1
            return
        if row.item is not None:
            cell = self._item(row.provider, day.date, row.item)
        else:
            cell = self._cell(row.provider, day.date, row.model or "", row.tier or "standard")
            if row.model:
                cell.spelled.add(row.model)
        cell.rows.append(row.where)
        if row.kind == "cost":
            cell.cost_pico = (cell.cost_pico or 0) + (row.cost_pico or 0)
            cell.rounding_pico += row.rounding_pico
            kind = row.cost_class or ""
            cell.class_costs[kind] = cell.class_costs.get(kind, 0) + (row.cost_pico or 0)
            return
        if row.requests is not None:
            cell.requests = (cell.requests or 0) + row.requests
        cell.tokens = cell.tokens or {}
        for name, count in row.tokens.items():
            if name == "web_search" and row.item is None:
                if count:
                    item = self._item(row.provider, day.date, WEB_SEARCH)
                    item.tokens = {"web_search": (item.tokens or {}).get("web_search", 0) + count}
                    item.rows.append(row.where)
            else:
                cell.tokens[name] = cell.tokens.get(name, 0) + count

    def _cell(self, provider: str, day: date, model: str, tier: str) -> Cell:
        key = self.key_of(day, provider, model, tier)
        return self._at(key)

    def _item(self, provider: str, day: date, name: str) -> Cell:
        return self._at((day, provider, name, None, True))

    def _at(self, key: Key) -> Cell:
        day, provider, model, tier, is_item = key
        if key not in self.cells:
            self.cells[key] = Cell(self._days[provider, day], provider, model, tier, is_item)
        return self.cells[key]

    def _fill(self, cell: Cell) -> None:
        """What an export covers and does not name is zero there; what it can't tell stays None."""
        if cell.tokens is None and cell.day.has_usage:
            needed = _endpoint_of(cell)
            if needed is not None and (cell.provider, needed) in self._export.endpoints:
                cell.tokens = {}
                tells_requests = any(
                    row.requests is not None
                    for row in self._export.rows
                    if row.provider == cell.provider and row.endpoint == needed
                )
                cell.requests = 0 if tells_requests and not cell.is_item else None
        is_in_costs = (cell.provider, cell.tier) not in NOT_IN_COSTS and (
            not cell.is_item or cell.model == WEB_SEARCH
        )
        if cell.cost_pico is None and cell.day.has_cost and is_in_costs:
            cell.cost_pico = 0


def _order(cell: Cell) -> tuple[date, str, bool, str, str]:
    return cell.day.date, cell.provider, cell.is_item, cell.model or "", cell.tier or ""


def _endpoint_of(cell: Cell) -> str | None:
    """Return which of the provider's usage reports would name the cell."""
    if cell.is_item:
        if cell.model != WEB_SEARCH:
            return None
        return COMPLETIONS if cell.provider == "anthropic" else SEARCHES
    kinds = {group.kind for group in cell.stored}
    return EMBEDDINGS if kinds == {"embedding"} else COMPLETIONS


def covered_span(cell: Cell) -> tuple[datetime, datetime]:
    """Return from when to when the cell's calls start."""
    return cell.day.parts[0][0], cell.day.parts[-1][1]


def spellings(cell: Cell) -> dict[str, list[str]]:
    """Return the models and tiers of a cell as the stored calls spell them."""
    models = sorted({group.model for group in cell.stored} | cell.spelled)
    tiers = {"batch" if group.is_batch else group.tier for group in cell.stored}
    return {"models": models, "tiers": sorted(tiers or {cell.tier or "standard"})}


def sums(cells: Iterable[Cell]) -> Mapping[str, int]:
    """Return calls, doubtful and unpriced calls of several cells."""
    groups = [group for cell in cells if not cell.is_item for group in cell.stored]
    return {
        "calls": sum(group.calls for group in groups),
        "calls_without_sound_usage": sum(group.doubtful for group in groups),
        "calls_without_a_price": sum(group.unpriced for group in groups),
    }
