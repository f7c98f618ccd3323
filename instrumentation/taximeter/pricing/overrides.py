"""Entries of price files as values: what they speak of, and what they change in a list of bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase

from taximeter.pricing.bands import ENDLESS, FIELDS, Band

_WHOLE_CARD = frozenset({"input", "output"})


@dataclass(frozen=True, slots=True)
class Override:
    """One [[price]] or [[multiplier]] entry."""

    prices: Mapping[str, int]
    """pico-USD per unit by field; empty where only a factor is given."""
    factor: Decimal = Decimal(1)
    """Scales tokens; a fee per search is none."""
    provider: str = "*"
    model: str = "*"
    tier: str | None = None
    """None: a card holds for ``standard``, a factor for every tier."""
    region_class: str | None = None
    server_address: str | None = None
    valid_from: int = -ENDLESS
    valid_to: int = ENDLESS
    dow_mask: int = 127
    gt_prompt: int = -1
    source: str = ""

    def fits(self, provider: str, names: tuple[str, ...], server_address: str | None) -> bool:
        """Return whether the entry speaks of one of the model's ``names`` at ``provider``."""
        if self.server_address is not None and not self.is_at(server_address):
            return False
        return fnmatchcase(provider, self.provider) and any(
            fnmatchcase(name, self.model) for name in names
        )

    def is_at(self, server_address: str | None) -> bool:
        """Return whether the entry is bound to this server; many emitters leave the port out."""
        if self.server_address is None or server_address is None:
            return False
        host, _, port = self.server_address.rpartition(":")
        return server_address in (self.server_address, host if port.isdigit() else None)

    def apply(self, bands: list[Band]) -> list[Band]:
        """Return ``bands`` with this entry's values inside its box, split at its edges."""
        result: list[Band] = []
        for band in bands:
            inside, outside = _cut(band, self)
            result += outside
            if inside is not None:
                result.append(self._change(inside))
        return result

    def _change(self, band: Band) -> Band:
        prices = tuple(
            self.prices.get(name, self._scaled(name, price))
            for name, price in zip(FIELDS, band.prices, strict=True)
        )
        if self.prices.keys() >= _WHOLE_CARD:
            return replace(band, prices=prices, source=self.source, quality="exact")
        return replace(band, prices=prices, source=f"{band.source}; {self.source}")

    def _scaled(self, name: str, price: int | None) -> int | None:
        if price is None or name == "web_search":
            return price
        return int((price * self.factor).to_integral_value())


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What one file says."""

    cards: tuple[Override, ...] = ()
    multipliers: tuple[Override, ...] = ()
    aliases: tuple[tuple[str, str, str], ...] = ()
    """(provider, request model, model)."""
    batch_services: tuple[str, ...] = ()
    assume_tiers: bool = True
    is_facts: bool = False
    """The shipped file, not the user's."""


def _cut(band: Band, box: Override) -> tuple[Band | None, list[Band]]:
    """Return the part of ``band`` inside ``box``, and the parts outside."""
    outside: list[Band] = []
    start, end = max(band.valid_from, box.valid_from), min(band.valid_to, box.valid_to)
    if start >= end:
        return None, [band]
    if band.valid_from < start:
        outside.append(replace(band, valid_to=start))
    if end < band.valid_to:
        outside.append(replace(band, valid_from=end))
    band = replace(band, valid_from=start, valid_to=end)
    mask = band.dow_mask & box.dow_mask
    if mask == 0:
        return None, [*outside, band]
    if mask != band.dow_mask:
        outside.append(replace(band, dow_mask=band.dow_mask & ~box.dow_mask))
    band = replace(band, dow_mask=mask)
    above = max(band.gt_prompt, box.gt_prompt)
    if above >= band.le_prompt:
        return None, [*outside, band]
    if above > band.gt_prompt:
        outside.append(replace(band, le_prompt=above))
    return replace(band, gt_prompt=above), outside
