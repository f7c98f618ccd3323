"""Entries of price files as values: what they speak of, and what they change in a list of bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase

from taximeter.pricing.bands import DAY_S, ENDLESS, FIELDS, Band
from taximeter.pricing.traffic import TrafficRule

_WHOLE_CARD = frozenset({"input", "output"})


@dataclass(frozen=True, slots=True)
class Override:
    """One [[price]] or [[multiplier]] entry, at one time of day."""

    prices: Mapping[str, int]
    """pico-USD per unit by field; empty where only a factor is given."""
    factor: Decimal = Decimal(1)
    """Scales tokens, also the entry's own prices; a fee per search is none."""
    provider: str = "*"
    model: str = "*"
    tier: str | None = None
    """None: a card holds for ``standard``, a factor for every tier."""
    region_class: str | None = None
    servers: tuple[str, ...] = ()
    """Patterns of the addresses that it is bound to; none = every address."""
    valid_from: int = -ENDLESS
    valid_to: int = ENDLESS
    tod_from: int = 0
    tod_to: int = DAY_S
    dow_mask: int = 127
    gt_prompt: int = -1
    le_prompt: int = ENDLESS
    source: str = ""

    @property
    def is_whole_card(self) -> bool:
        """Whether it says what prompt and answer cost; the rest follows from these."""
        return self.prices.keys() >= _WHOLE_CARD

    @property
    def is_server_card(self) -> bool:
        """Whether it prices a server by itself: no list, no tier of a provider applies there."""
        return bool(self.servers) and self.is_whole_card

    def fits(self, provider: str, names: tuple[str, ...], server_address: str | None) -> bool:
        """Return whether the entry speaks of one of the model's ``names`` at ``provider``."""
        if self.servers and not self.is_at(server_address):
            return False
        return fnmatchcase(provider, self.provider) and any(
            name == self.model or fnmatchcase(name, self.model) for name in names
        )

    def is_at(self, server_address: str | None) -> bool:
        """Return whether the entry is bound to this server."""
        return is_at(self.servers, server_address)

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
        listed = (None,) * len(FIELDS) if self.is_server_card else band.prices
        prices = tuple(
            self._scaled(name, self.prices.get(name, price))
            for name, price in zip(FIELDS, listed, strict=True)
        )
        if self.is_whole_card:
            return replace(band, prices=prices, source=self.source, quality="exact")
        sources = (band.source, self.source) if band.source else (self.source,)
        return replace(band, prices=prices, source="; ".join(sources))

    def _scaled(self, name: str, price: int | None) -> int | None:
        if price is None or name == "web_search":
            return price
        return int((price * self.factor).to_integral_value())


@dataclass(frozen=True, slots=True)
class Alias:
    """One [[alias]] entry: a deployment's or profile's name → the model behind it."""

    provider: str
    request_model: str
    """Lower case, a pattern."""
    model: str
    servers: tuple[str, ...] = ()

    def fits(self, providers: set[str], name: str, server_address: str | None) -> bool:
        """Return whether ``name`` (lower case) at one of the ``providers`` is meant."""
        if self.servers and not is_at(self.servers, server_address):
            return False
        return any(fnmatchcase(provider, self.provider) for provider in providers) and (
            name == self.request_model or fnmatchcase(name, self.request_model)
        )


@dataclass(frozen=True, slots=True)
class PriceFile:
    """What one file says."""

    cards: tuple[Override, ...] = ()
    multipliers: tuple[Override, ...] = ()
    aliases: tuple[Alias, ...] = ()
    traffic: tuple[TrafficRule, ...] = ()
    assume_tiers: bool = True
    fallback: TrafficRule | None = None
    """Where a cost that an emitter states may stand in for a price that nobody knows."""
    is_facts: bool = False
    """The shipped file, not the user's."""


def is_at(servers: tuple[str, ...], server_address: str | None) -> bool:
    """Return whether a server is one of those meant; many emitters leave the port out.

    >>> is_at(("llm.internal:8000",), "llm.internal"), is_at(("*.internal",), "a.internal")
    (True, True)
    """
    if server_address is None:
        return False
    address = server_address.lower()
    for server in servers:
        host, _, port = server.rpartition(":")
        spelled = (server, host) if port.isdigit() and host else (server,)
        if any(fnmatchcase(address, pattern) for pattern in spelled):
            return True
        # A host without a port means every port of it.
        if not port.isdigit() and fnmatchcase(address.rpartition(":")[0], server):
            return True
    return False


def _cut(band: Band, box: Override) -> tuple[Band | None, list[Band]]:
    """Return the part of ``band`` inside ``box``, and the parts outside."""
    outside: list[Band] = []
    for low, high in (
        ("valid_from", "valid_to"),
        ("tod_from", "tod_to"),
        ("gt_prompt", "le_prompt"),
    ):
        first, last = getattr(band, low), getattr(band, high)
        start, end = max(first, getattr(box, low)), min(last, getattr(box, high))
        if start >= end:
            return None, [*outside, band]
        if first < start:
            outside.append(replace(band, **{high: start}))
        if end < last:
            outside.append(replace(band, **{low: end}))
        band = replace(band, **{low: start, high: end})
    mask = band.dow_mask & box.dow_mask
    if mask == 0:
        return None, [*outside, band]
    if mask != band.dow_mask:
        outside.append(replace(band, dow_mask=band.dow_mask & ~box.dow_mask))
    return replace(band, dow_mask=mask), outside
