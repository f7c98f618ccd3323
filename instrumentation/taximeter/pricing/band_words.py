"""A band of the price list in, the words for when it holds out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from taximeter.pricing.bands import DAY_S, ENDLESS, Band

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def when(band: Band) -> str:
    """Return in words the box in which a band holds.

    >>> when(Band(prices=(), gt_prompt=200_000, dow_mask=0b0011111))
    'always, prompt over 200,000, Mon Tue Wed Thu Fri'
    """
    parts = [_dates(band.valid_from, band.valid_to)]
    if band.gt_prompt > 0:
        parts.append(f"prompt over {band.gt_prompt:,}")
    if band.le_prompt < ENDLESS:
        parts.append(f"prompt to {band.le_prompt:,}")
    if (band.tod_from, band.tod_to) != (0, DAY_S):
        parts.append(f"{_clock(band.tod_from)}-{_clock(band.tod_to)} UTC")
    if band.dow_mask != 127:
        parts.append(" ".join(d for i, d in enumerate(_WEEKDAYS) if band.dow_mask >> i & 1))
    return ", ".join(parts)


def _dates(start: int, end: int) -> str:
    since = "" if start <= -ENDLESS else f"from {_date(start)}"
    until = "" if end >= ENDLESS else f"until {_date(end)}"
    return " ".join(filter(None, (since, until))) or "always"


def _date(unix_s: int) -> str:
    at = datetime.fromtimestamp(unix_s, UTC)
    return f"{at:%Y-%m-%d}" if (at.hour, at.minute) == (0, 0) else f"{at:%Y-%m-%d %H:%M} UTC"


def _clock(second: int) -> str:
    return f"{second // 3600:02}:{second // 60 % 60:02}"
