"""Names → a price key, once per combination; a key and a time → the band, and the cost in it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from taximeter.pricing import matching
from taximeter.pricing.bands import FIELDS, Band, Cost, cost_in, together, total_in
from taximeter.pricing.overrides import Override, PriceFile
from taximeter.pricing.price_file import parse_prices, read_price_file
from taximeter.pricing.traffic import TrafficRule, decide
from taximeter.usage import Usage

STANDARD_TIERS: Final = frozenset(
    {"standard", "default", "auto", "normal", "standard_only", "on_demand", ""}
)
"""Capacity that was paid for ahead (``scale``, ``provisioned_throughput``) has no price a call."""
_NO_PRICE: Final = (None,) * len(FIELDS)
_PRICES: Final = 7
"""Where a row of the snapshot has its prices, in the order of FIELDS."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """Which price list entry a call falls under."""

    provider: str
    model: str
    """The id in the price list, or the name of an override's card."""
    context: str
    """``standard``, ``batch``, ``flex`` …; with ``|geo:us`` where a region is surcharged."""
    match_quality: str
    """``exact``, ``prefix`` (the list matched a longer name) or ``override``."""
    server_address: str | None = None
    """Where a price file speaks of this server."""
    spelled: str = ""
    """The emitter's name for the model, where a price file speaks of that and not of the list's."""

    @property
    def key(self) -> str:
        """One text per set of bands."""
        return "|".join(
            (self.provider, self.model, self.context, self.server_address or "", self.spelled)
        )


@dataclass(frozen=True, slots=True)
class Dearest:
    """The highest prices of a list, in pico-USD per token."""

    input_pico: int
    """Cached reads and writes included."""
    output_pico: int


class Catalog:
    """The price list: a library snapshot, the shipped facts, the user's file; later wins."""

    def __init__(self, snapshot: dict[str, Any], files: Sequence[PriceFile]) -> None:
        self.version: str = snapshot["version"]
        self._providers: dict[str, dict[str, Any]] = {p["id"]: p for p in snapshot["providers"]}
        self._bands: dict[str, list[list[Any]]] = snapshot["bands"]
        self._files = tuple(files)
        general = [file.fallback for file in files if file.fallback is not None]
        self.traffic: tuple[TrafficRule, ...] = (
            *general, *(rule for file in files for rule in file.traffic)
        )  # fmt: skip
        """The rules about calls: batch, cache lifetime, reported cost; the last that holds decides."""
        self.rules = {
            kind: tuple(rule for rule in self.traffic if rule.kind == kind)
            for kind in ("batch", "cache_ttl", "reported")
        }
        """The same by kind."""
        self._resolved: dict[tuple[Any, ...], Resolution | None] = {}
        self._built: dict[str, list[Band]] = {}

    def resolve(
        self,
        provider_raw: str | None,
        model: str | None,
        *,
        tier: str | None = "standard",
        batch: bool = False,
        region_class: str | None = None,
        server_address: str | None = None,
    ) -> Resolution | None:
        """Return the entry for what an emitter said; None when no price list knows it."""
        if not model:
            return None
        asked = (provider_raw, model, tier, batch, region_class, server_address)
        if asked not in self._resolved:
            self._resolved[asked] = self._resolve(*asked)
        return self._resolved[asked]

    def decide(self, kind: str, call: Mapping[str, str | Sequence[str] | None]) -> str | None:
        """Return what the last rule of ``kind`` that holds says of a call; None where none does."""
        return decide(self.rules[kind], kind, call)

    def price(self, usage: Usage, resolution: Resolution, at: datetime) -> Cost | None:
        """Return the cost of a call that started at ``at``; None where it can't be known."""
        costs = [self._price_one(usage, resolution, at)]
        costs += [cost for _, _, cost in self.price_others(usage, resolution, at)]
        known = [cost for cost in costs if cost is not None]
        return together(known) if len(known) == len(costs) else None

    def total_pico(self, usage: Usage, resolution: Resolution, second: int) -> int | None:
        """Return the total of `price` for a call that started in that Unix second."""
        prompt = usage.prompt_tokens
        if usage.other_models:
            cost = self.price(usage, resolution, datetime.fromtimestamp(second, UTC))
            return cost.total_pico if cost else None
        if prompt is not None:
            for band in self.bands(resolution):
                if band.holds_at(second, prompt):
                    return total_in(band, usage)
        return None

    def price_others(
        self, usage: Usage, resolution: Resolution, at: datetime
    ) -> list[tuple[str, Usage, Cost | None]]:
        """Return what the call spent on other models: (model, tokens, cost at its own price)."""
        context, _, region = resolution.context.partition("|")
        provider = resolution.provider.partition(">")[0]
        priced = []
        for model, tokens in usage.other_models:
            entry = self.resolve(provider, model, tier=context, region_class=region or None)
            cost = self._price_one(tokens, entry, at) if entry else None
            priced.append((model, tokens, cost))
        return priced

    def _price_one(self, usage: Usage, resolution: Resolution, at: datetime) -> Cost | None:
        prompt = usage.prompt_tokens
        if prompt is None:
            return None
        for band in self.bands(resolution):
            if band.holds(at, prompt):
                return cost_in(band, usage)
        return None

    def bands(self, resolution: Resolution) -> list[Band]:
        """Return the non-overlapping bands of an entry."""
        if resolution.key not in self._built:
            self._built[resolution.key] = self._build(resolution)
        return self._built[resolution.key]

    def provider_of(self, provider_raw: str | None, model: str) -> str | None:
        """Return the provider's id even where the model is unknown."""
        return matching.provider_id(provider_raw, model)

    def dearest(self, provider_raw: str | None, model: str | None) -> Dearest:
        """Return the highest prices of the provider's library list; of all where it has none."""
        provider = self.provider_of(provider_raw, model or "")
        listed = {key: rows for key, rows in self._bands.items() if key.startswith(f"{provider}|")}
        prices = [row[_PRICES] for rows in (listed or self._bands).values() for row in rows]
        at = FIELDS.index("output")
        return Dearest(
            max(price or 0 for row in prices for price in row[:at]),
            max(row[at] or 0 for row in prices),
        )

    def standard_entries(self) -> list[Resolution]:
        """Return the library's entries, one a (provider, model, context)."""
        return [
            Resolution(*key.split("|"), match_quality="exact")  # type: ignore[misc]
            for key in self._bands
        ]

    # Resolution.

    def _resolve(
        self,
        provider_raw: str | None,
        model: str,
        tier: str | None,
        batch: bool,
        region_class: str | None,
        server_address: str | None,
    ) -> Resolution | None:
        model = self._alias(provider_raw or "", model, server_address)
        context = "batch" if batch else self._tier(tier)
        for provider in self._provider_candidates(provider_raw, model, server_address):
            if (found := self._find(provider, model, server_address)) is None:
                continue
            home, model_id, quality = found
            names = _names(model_id, model, provider)
            region = region_class or matching.region_of(provider, model, server_address)
            if region and self._region_matters(provider, names, region):
                context = f"{context}|{region}"
            spelled = self._is_named_apart(provider, model_id, names, server_address)
            entry = Resolution(
                f"{provider}>{home}" if home != provider else provider,
                model_id,
                context,
                "override" if spelled and quality == "prefix" else quality,
                server_address if self._server_matters(server_address) else None,
                model.lower() if spelled else "",
            )
            return entry if any(band.prices != _NO_PRICE for band in self.bands(entry)) else None
        return None

    def _alias(self, provider_raw: str, model: str, server_address: str | None) -> str:
        known_as = {provider_raw.lower(), matching.provider_id(provider_raw, model) or ""}
        for file in reversed(self._files):
            for alias in reversed(file.aliases):
                if alias.fits(known_as, model.lower(), server_address):
                    return alias.model
        return model

    def _is_named_apart(
        self, provider: str, model_id: str, names: tuple[str, ...], server_address: str | None
    ) -> bool:
        """Return whether a price file speaks of the emitter's name and not of the list's."""
        listed = (model_id.lower(),)
        return any(
            rule.fits(provider, names, server_address)
            and not rule.fits(provider, listed, server_address)
            for file in self._files
            for rule in (*file.cards, *file.multipliers)
        )

    @staticmethod
    def _tier(tier: str | None) -> str:
        name = (tier or "standard").lower().removeprefix("on_demand_")
        return "standard" if name in STANDARD_TIERS else name

    def _provider_candidates(
        self, provider_raw: str | None, model: str, server_address: str | None
    ) -> list[str]:
        """Return who may bill the call. ``openai`` and ``anthropic`` name a protocol as well."""
        named = matching.provider_id(provider_raw, model)
        seller = None
        if named is None or named in matching.PROTOCOLS:
            seller = self._seller_at(named, server_address)
        if seller is not None or named is not None:
            return [seller or named or ""]
        stated = matching.prefixed_provider(model)
        if stated is not None:
            return [matching.provider_id(stated, model) or stated]
        lowered = model.lower()
        known = [
            name
            for name, provider in self._providers.items()
            if provider["model_match"] and matching.is_match(provider["model_match"], lowered)
        ]
        # Nobody is named: a card for any provider, or for a server, may still speak of the model.
        return [*known, ""]

    def _seller_at(self, named: str | None, server_address: str | None) -> str | None:
        """Return the provider whose API answers at this address."""
        if not server_address:
            return None
        url = f"https://{server_address.lower()}/"
        sellers = [
            name for name, provider in self._providers.items() if re.match(provider["api"], url)
        ]
        return named if named in sellers else next(iter(sellers), None)

    def _find(
        self, provider: str, model: str, server_address: str | None
    ) -> tuple[str, str, str] | None:
        """Return (the provider whose list has it, model id, match quality)."""
        cards = self._cards()
        names = _names(model, model, provider)
        hosted_by_user = any(
            card.is_server_card and card.fits(provider, names, server_address) for card in cards
        )
        listed = self._providers.get(provider)
        if listed is not None and not hosted_by_user:
            for spelling in matching.spellings(model, provider):
                for home in (provider, *listed["fallback"]):
                    if (found := self._match(home, spelling)) is not None:
                        return home, *found
        for card in reversed(cards):
            is_own = card.is_server_card or (card.prices and card.model != "*")
            if is_own and card.fits(provider, names, server_address):
                return provider, matching.bare_name(model, provider), "override"
        return None

    def _match(self, provider: str, spelling: str) -> tuple[str, str] | None:
        """Return (model id, how well it matched) of the first entry that claims the name."""
        listed = self._providers.get(provider)
        if matching.is_given_away(provider, spelling):
            return None
        for model in listed["models"] if listed else ():
            if matching.is_match(model["match"], spelling):
                is_exact = matching.is_named(model["match"], model["id"], spelling)
                return str(model["id"]), "exact" if is_exact else "prefix"
        return None

    def _cards(self) -> list[Override]:
        return [card for file in self._files for card in file.cards]

    def _region_matters(self, provider: str, names: tuple[str, ...], region: str) -> bool:
        return any(
            rule.region_class == region and rule.fits(provider, names, None)
            for file in self._files
            for rule in (*file.multipliers, *file.cards)
        )

    def _server_matters(self, server_address: str | None) -> bool:
        return any(card.is_at(server_address) for card in self._cards())

    # Bands.

    def _build(self, entry: Resolution) -> list[Band]:
        """Apply the files in order; a tier that no list has stands on the standard of its time."""
        context, _, region = entry.context.partition("|")
        provider, _, home = entry.provider.partition(">")
        names = _names(entry.model, entry.spelled or entry.model, provider)
        bands = self._library(home or provider, entry.model, context)
        standard = self._library(home or provider, entry.model, "standard")
        is_listed = bool(bands or standard)
        for file in self._files:
            is_own = not bands and not file.is_facts
            cards = [c for c in file.cards if c.fits(provider, names, entry.server_address)]
            rules = [r for r in file.multipliers if r.fits(provider, names, entry.server_address)]
            standard = _with_cards(standard, cards, "standard", region)
            bands = _with_cards(bands, cards, context, region)
            for rule in rules:
                if rule.region_class not in (None, region):
                    continue
                if rule.tier is None:
                    bands, standard = rule.apply(bands), rule.apply(standard)
                elif rule.tier == context:
                    bands = rule.apply(bands or standard)
            # A fact that leaves a kind out does not know it; a user's own card means its parent.
            is_listed = is_listed or (is_own and bool(bands))
        return [_inherited(band) for band in bands] if is_listed else bands

    def _library(self, provider: str, model: str, context: str) -> list[Band]:
        rows = self._bands.get(f"{provider}|{model}|{context}", [])
        source = f"{self.version} {provider}:{model}"
        bands = [_band(row, source) for row in rows]
        if all(file.assume_tiers for file in self._files):
            return bands
        return [band for band in bands if band.quality != "assumed_tier"]


def _band(row: list[Any], source: str) -> Band:
    """Read one row of the snapshot: seven edges, the prices, a quality where it is not exact."""
    valid_from, valid_to, tod_from, tod_to, dow_mask, gt_prompt, le_prompt, prices, *quality = row
    return Band(
        tuple(prices), valid_from, valid_to, tod_from, tod_to, dow_mask, gt_prompt, le_prompt,
        source, *quality,
    )  # fmt: skip


def _names(model_id: str, model: str, provider: str) -> tuple[str, ...]:
    """Return every name under which a price file may speak of the model."""
    spelled = tuple(matching.spellings(model, provider))
    return (
        model_id.lower(),
        *spelled,
        *map(matching.core_name, spelled),
        *map(matching.without_vendor, spelled),
    )


def _with_cards(
    bands: list[Band], cards: Sequence[Override], context: str, region: str
) -> list[Band]:
    for card in cards:
        if _is_for(card, context, region):
            blank = [Band(_NO_PRICE)] if card.prices else []
            bands = card.apply(bands or blank)
    return bands


def _is_for(card: Override, context: str, region: str) -> bool:
    if card.region_class is not None and card.region_class != region:
        return False
    if card.tier is not None:
        return card.tier == context
    if card.is_server_card:
        return True
    return context == "standard" or not card.prices


def _inherited(band: Band) -> Band:
    """Return the band with what providers bill by a parent's price where none of its own is listed.

    Cached reads, short writes, audio and images without a price are billed as input or output;
    long writes and searches are not guessed.
    """
    price = dict(zip(FIELDS, band.prices, strict=True))
    parents = {"cache_read": "input", "cache_write_short": "input", "audio_input": "input",
               "audio_cache_read": "cache_read", "audio_output": "output",
               "image_input": "input", "image_output": "output"}  # fmt: skip
    for name, parent in parents.items():
        if price[name] is None:
            price[name] = price[parent]
    return replace(band, prices=tuple(price[name] for name in FIELDS))


def load_catalog(override_path: Path | None = None) -> Catalog:
    """Return the shipped price list with the user's file on top. Raises PriceFileError."""
    if override_path is None:
        return _shipped_catalog()
    return Catalog(shipped_snapshot(), [shipped_facts(), read_price_file(override_path)])


@lru_cache(maxsize=1)
def _shipped_catalog() -> Catalog:
    return Catalog(shipped_snapshot(), [shipped_facts()])


@lru_cache(maxsize=1)
def shipped_snapshot() -> dict[str, Any]:
    """Return the snapshot of the price library that this release was made with."""
    packed = resources.files("taximeter.pricing").joinpath("snapshot.json.gz").read_bytes()
    snapshot: dict[str, Any] = json.loads(gzip.decompress(packed))
    return snapshot


@lru_cache(maxsize=1)
def shipped_facts() -> PriceFile:
    """Return what `prices.toml` beside this file says."""
    text = resources.files("taximeter.pricing").joinpath("prices.toml").read_text(encoding="utf-8")
    return replace(parse_prices(text, "taximeter/pricing/prices.toml"), is_facts=True)
