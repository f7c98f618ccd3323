"""A price as a box in date × time of day × weekday × prompt length, and the arithmetic in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from math import floor
from operator import itemgetter
from typing import Final

from taximeter.usage import Usage

FIELDS: Final = (
    "input",
    "cache_read",
    "cache_write_short",
    "cache_write_long",
    "output",
    "audio_input",
    "audio_cache_read",
    "audio_output",
    "image_input",
    "image_output",
    "web_search",
)
"""The kinds of unit that have a price, in the order of `Band.prices`."""
ENDLESS: Final = 2**62
DAY_S: Final = 86_400
_FIRST_WEEKDAY: Final = 3
"""Of Unix time: 0 is a Monday."""
PICO: Final = 10**12

_SUMMED: Final = ("total_pico", "input_pico", "cache_read_pico", "cache_write_pico", "output_pico",
                  "other_pico", "cache_saved_pico")  # fmt: skip
_LEAF_OF: Final = dict(zip(FIELDS, Usage._fields, strict=False))
_priced: Final = itemgetter(slice(len(FIELDS)))
"""The units of a usage that have a price: its first fields, in the order of FIELDS."""


@dataclass(frozen=True, slots=True)
class Band:
    """The prices that hold inside one box; boxes of a key never overlap."""

    prices: tuple[int | None, ...]
    """pico-USD per unit, in the order of FIELDS; None = has no price."""
    valid_from: int = -ENDLESS
    """Unix seconds, inclusive."""
    valid_to: int = ENDLESS
    """Unix seconds, exclusive."""
    tod_from: int = 0
    """Seconds of the UTC day, inclusive."""
    tod_to: int = DAY_S
    dow_mask: int = 127
    """Bit 0 is Monday."""
    gt_prompt: int = -1
    """The prompt is longer than this …"""
    le_prompt: int = ENDLESS
    """… and at most this long."""
    source: str = ""
    quality: str = "exact"

    @property
    def provenance(self) -> str:
        """Which list says the prices, and since when they hold.

        >>> Band((), valid_from=1_794_960_000, source="genai-prices 0.2.3 openai:gpt-5").provenance
        'genai-prices 0.2.3 openai:gpt-5, from 2026-11-18'
        """
        if self.valid_from <= -ENDLESS:
            return f"{self.source}, undated"
        start = datetime.fromtimestamp(self.valid_from, UTC)
        day = f"{start:%Y-%m-%d}" if start.time() == time() else f"{start:%Y-%m-%dT%H:%MZ}"
        return f"{self.source}, from {day}"

    def holds(self, at: datetime, prompt: int) -> bool:
        """Return whether a call that started at ``at`` with such a prompt falls into the box."""
        return self.holds_at(floor(at.timestamp()), prompt)

    def holds_at(self, second: int, prompt: int) -> bool:
        """Return the same of a call that started in that Unix second.

        >>> Band((), dow_mask=0b0100000, tod_to=3_600).holds_at(1_795_824_000, 0)  # a Saturday, 00:00
        True
        """
        return (
            self.valid_from <= second < self.valid_to
            and self.gt_prompt < prompt <= self.le_prompt
            and self.tod_from <= second % DAY_S < self.tod_to
            and bool(self.dow_mask >> (second // DAY_S + _FIRST_WEEKDAY) % 7 & 1)
        )


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call cost, in pico-USD."""

    total_pico: int
    input_pico: int
    cache_read_pico: int
    cache_write_pico: int
    output_pico: int
    other_pico: int
    """Audio, images, searches."""
    cache_saved_pico: int
    """Against the same tokens uncached; negative when writing cost more than reading saved."""
    price_source: str = ""
    quality: str = "exact"
    by_field: dict[str, int] = field(default_factory=dict)

    @property
    def total_usd(self) -> float:
        """The total for people."""
        return self.total_pico / PICO


def cost_in(band: Band, usage: Usage) -> Cost | None:
    """Return what ``usage`` costs in ``band``; None where a used unit has no price.

    >>> band = Band(prices=(4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000) + (None,) * 6)
    >>> usage = Usage(uncached_input=50, cache_read=100_000, cache_write_short=2_000, output=500)
    >>> cost_in(band, usage).total_pico, cost_in(band, usage).cache_saved_pico
    (40200000000, 378000000000)
    """
    if usage.uncached_input is None or usage.output is None:
        return None
    by_field: dict[str, int] = {}
    for name, price in zip(FIELDS, band.prices, strict=True):
        units = getattr(usage, _LEAF_OF[name]) or 0
        if units and price is None:
            return None
        by_field[name] = units * (price or 0)
    writes = by_field["cache_write_short"] + by_field["cache_write_long"]
    plain = by_field["input"] + by_field["cache_read"] + writes + by_field["output"]
    total = sum(by_field.values())
    return Cost(
        total_pico=total,
        input_pico=by_field["input"],
        cache_read_pico=by_field["cache_read"],
        cache_write_pico=writes,
        output_pico=by_field["output"],
        other_pico=total - plain,
        cache_saved_pico=_saved(band, usage, by_field),
        price_source=band.provenance,
        quality=band.quality,
        by_field=by_field,
    )


def total_in(band: Band, usage: Usage) -> int | None:
    """Return the total of `cost_in` alone: all that a budget needs, in a tenth of the time."""
    if usage.uncached_input is None or usage.output is None:
        return None
    total = 0
    for units, price in zip(_priced(usage), band.prices, strict=True):
        if units:
            if price is None:
                return None
            total += units * price
    return total


def together(costs: Sequence[Cost]) -> Cost:
    """Return the sum of the parts of one call; its quality is that of the first part not exact."""
    if len(costs) == 1:
        return costs[0]
    sums = {name: sum(getattr(cost, name) for cost in costs) for name in _SUMMED}
    return Cost(
        **sums,
        price_source="; ".join(dict.fromkeys(cost.price_source for cost in costs)),
        quality=next((cost.quality for cost in costs if cost.quality != "exact"), "exact"),
        by_field={name: sum(cost.by_field[name] for cost in costs) for name in FIELDS},
    )


def _saved(band: Band, usage: Usage, by_field: dict[str, int]) -> int:
    text, audio = band.prices[FIELDS.index("input")], band.prices[FIELDS.index("audio_input")]
    saved = 0
    for name in ("cache_read", "cache_write_short", "cache_write_long"):
        saved += (getattr(usage, _LEAF_OF[name]) or 0) * (text or 0) - by_field[name]
    return saved + (usage.audio_cache_read or 0) * (audio or 0) - by_field["audio_cache_read"]
