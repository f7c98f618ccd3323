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
from taximeter.pricing.listed_bands import NO_PRICE, ListedBands
from taximeter.pricing.overrides import Override, PriceFile
from taximeter.pricing.price_file import parse_prices, read_price_file
from taximeter.pricing.resolution import Resolution, names_of
from taximeter.pricing.traffic import TrafficRule, decide
from taximeter.usage import Usage

STANDARD_TIERS: Final = frozenset(
    {"standard", "default", "auto", "normal", "standard_only", "on_demand", ""}
)
"""Capacity that was paid for ahead (``scale``, ``provisioned_throughput``) has no price a call."""
_PRICES: Final = 7
"""Where a row of the snapshot has its prices, in the order of FIELDS."""


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
        self._listed = ListedBands(self.version, self._bands, self._files)
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
        try:
            return self._resolved[asked]
        except KeyError:
            entry = self._resolved[asked] = self._resolve(*asked)
            return entry

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
        built = self._built.get(resolution.key)
        if built is None:
            built = self._built[resolution.key] = self._listed.build(resolution)
        return built

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
            names = names_of(model_id, model, provider)
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
            return entry if any(band.prices != NO_PRICE for band in self.bands(entry)) else None
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
        names = names_of(model, model, provider)
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
