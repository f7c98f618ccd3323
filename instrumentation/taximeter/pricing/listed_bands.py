"""An entry of the price list in, its non-overlapping bands out: the library's rows, then each price file's changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from taximeter.pricing.bands import FIELDS, Band
from taximeter.pricing.overrides import Override, PriceFile
from taximeter.pricing.resolution import Resolution, names_of

NO_PRICE: Final = (None,) * len(FIELDS)


@dataclass(frozen=True, slots=True)
class ListedBands:
    """The library's rows by `provider|model|context`, and the price files in their order."""

    version: str
    rows: Mapping[str, Sequence[list[Any]]]
    files: Sequence[PriceFile]

    def build(self, entry: Resolution) -> list[Band]:
        """Return its bands: the files applied in order; a tier that no list has stands on the standard of its time."""
        context, _, region = entry.context.partition("|")
        provider, _, home = entry.provider.partition(">")
        names = names_of(entry.model, entry.spelled or entry.model, provider)
        bands = self._library(home or provider, entry.model, context)
        standard = self._library(home or provider, entry.model, "standard")
        is_listed = bool(bands or standard)
        for file in self.files:
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
        rows = self.rows.get(f"{provider}|{model}|{context}", [])
        source = f"{self.version} {provider}:{model}"
        bands = [_band(row, source) for row in rows]
        if all(file.assume_tiers for file in self.files):
            return bands
        return [band for band in bands if band.quality != "assumed_tier"]


def _band(row: list[Any], source: str) -> Band:
    """Read one row of the snapshot: seven edges, the prices, a quality where it is not exact."""
    valid_from, valid_to, tod_from, tod_to, dow_mask, gt_prompt, le_prompt, prices, *quality = row
    return Band(
        tuple(prices), valid_from, valid_to, tod_from, tod_to, dow_mask, gt_prompt, le_prompt,
        source, *quality,
    )  # fmt: skip


def _with_cards(
    bands: list[Band], cards: Sequence[Override], context: str, region: str
) -> list[Band]:
    for card in cards:
        if _is_for(card, context, region):
            blank = [Band(NO_PRICE)] if card.prices else []
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
