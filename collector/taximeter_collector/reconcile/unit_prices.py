"""What a unit costs in a cell, by our books: pico-USD by kind of unit. Pure."""

from __future__ import annotations

from datetime import timedelta

from taximeter.pricing import FIELDS, Catalog
from taximeter_collector.reconcile.cells import Cell
from taximeter_collector.reconcile.days import midnight
from taximeter_collector.reconcile.rows import CLASSES, PROMPT


def unit_prices(catalog: Catalog, cell: Cell) -> dict[str, int]:
    """Return the first that is known: as all stored calls show it, the price list, the stored
    calls' average, the provider's own average."""
    listed = _listed(catalog, cell)
    found = {}
    for name in CLASSES:
        for price in (_seen(cell, name), listed.get(name), _average(cell, name), _paid(cell, name)):
            if price is not None:
                found[name] = price
                break
    return found


def _seen(cell: Cell, name: str) -> int | None:
    """Return the price that every stored call had; None where they differ."""
    shown = [price for group in cell.stored for price in group.unit_prices.get(name, ())]
    if not shown or min(shown) != max(shown) or shown[0] != int(shown[0]):
        return None
    return int(shown[0])


def _listed(catalog: Catalog, cell: Cell) -> dict[str, int]:
    if cell.model is None or cell.is_item:
        return {}
    spelled = next((group.model for group in cell.stored), None) or cell.model
    entry = catalog.resolve(
        cell.provider, spelled, tier=cell.tier or "standard", batch=cell.tier == "batch"
    )
    if entry is None:
        return {}
    noon = midnight(cell.day.date) + timedelta(hours=12)
    for band in catalog.bands(entry):
        if band.holds(noon, _usual_prompt(cell)):
            pairs = zip(FIELDS, band.prices, strict=True)
            return {name: price for name, price in pairs if price is not None}
    return {}


def _usual_prompt(cell: Cell) -> int:
    if cell.calls:
        return sum(group.prompt_tokens for group in cell.stored) // cell.calls
    prompt = sum((cell.tokens or {}).get(name, 0) for name in PROMPT)
    return prompt // cell.requests if cell.requests else min(prompt, 1000)


def _average(cell: Cell, name: str) -> int | None:
    """Return the middle of what the stored calls had: for cells of many models or bands."""
    shown = [group.unit_prices[name] for group in cell.stored if name in group.unit_prices]
    return round(sum(low + high for low, high in shown) / (2 * len(shown))) if shown else None


def _paid(cell: Cell, name: str) -> int | None:
    units, cost = (cell.tokens or {}).get(name), cell.class_costs.get(name)
    return cost // units if units and cost is not None else None
