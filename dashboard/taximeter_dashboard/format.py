"""Every number on screen: a raw value in, the text a person reads out. Unknown is —, never 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

UNKNOWN: Final = "—"
NARROW_SPACE: Final = "\u202f"
_MINUS: Final = "\u2212"
_SCALES: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))

Number = float | int | None


def is_known(value: Number) -> bool:
    """Return whether a value can be shown as a number.

    >>> is_known(0), is_known(None), is_known(float("nan"))
    (True, False, False)
    """
    return value is not None and math.isfinite(value)


def usd(value: Number) -> str:
    """Return money with the precision its size deserves.

    >>> [usd(v) for v in (0, 0.00004, 0.0042, 0.378, 3.78, 378, 37_800, 3.78e6, None)]
    ['$0', '<$0.0001', '$0.0042', '$0.378', '$3.78', '$378', '$37.8k', '$3.78M', '—']
    """
    if value is None or not is_known(value):
        return UNKNOWN
    sign, size = (_MINUS if value < 0 else ""), abs(value)
    if size == 0:
        return "$0"
    if size < 0.0001:
        return f"<{sign}$0.0001" if not sign else f"{sign}$<0.0001"
    for below, digits in ((0.01, 4), (1.0, 3), (100.0, 2)):
        # The rounded value decides, so that 0.99996 is $1.00 and not $1.000.
        if round(size, digits) < below:
            return f"{sign}${size:.{digits}f}"
    if size < 9_999.5:
        return f"{sign}${size:,.0f}"
    return f"{sign}${_scaled(size)}"


def count(value: Number) -> str:
    """Return a count or a number of tokens with an SI suffix.

    >>> [count(v) for v in (0, 842, 999.7, 1_200, 34_500, 1.23e6, 1.5, None)]
    ['0', '842', '1.00k', '1.20k', '34.5k', '1.23M', '1.5', '—']
    """
    if value is None or not is_known(value):
        return UNKNOWN
    sign, size = (_MINUS if value < 0 else ""), abs(value)
    if size >= 999.5:
        return sign + _scaled(size)
    whole = float(size).is_integer() or size >= 100
    return f"{sign}{size:.0f}" if whole else f"{sign}{size:.1f}"


def exact(value: Number) -> str:
    """Return a whole number with thousands separators.

    >>> exact(36716), exact(None)
    ('36,716', '—')
    """
    return UNKNOWN if value is None or not is_known(value) else f"{value:,.0f}"


def decimal(value: Number, digits: int = 2) -> str:
    """Return a plain number, such as a mean loop length; a large one as a count.

    >>> decimal(4.118), decimal(10_400), decimal(None)
    ('4.12', '10.4k', '—')
    """
    if value is None or not is_known(value):
        return UNKNOWN
    return count(value) if abs(value) >= 1_000 else f"{value:.{digits}f}"


def duration(ms: Number) -> str:
    """Return a duration given in milliseconds.

    >>> [duration(v).replace("\u202f", " ") for v in (0.2, 850, 1240, 12_300, 125_000, 3_780_000)]
    ['200 µs', '850 ms', '1.24 s', '12.3 s', '2m 05s', '1h 03m']
    """
    if ms is None or not is_known(ms) or ms < 0:
        return UNKNOWN
    if ms == 0:
        return f"0{NARROW_SPACE}ms"
    if ms < 0.9995:
        return f"{ms * 1000:.0f}{NARROW_SPACE}µs"
    if ms < 999.5:
        return f"{ms:.0f}{NARROW_SPACE}ms"
    seconds = ms / 1000
    if seconds < 9.995:
        return f"{seconds:.2f}{NARROW_SPACE}s"
    if seconds < 59.95:
        return f"{seconds:.1f}{NARROW_SPACE}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def percent(ratio: Number, digits: int | None = None) -> str:
    """Return a ratio from 0 to 1 as a percentage.

    >>> [percent(v) for v in (0, 0.0042, 0.041, 0.66, 0.9996, 1, None)]
    ['0%', '0.42%', '4.1%', '66%', '99.9%', '100%', '—']
    """
    if ratio is None or not is_known(ratio):
        return UNKNOWN
    value = ratio * 100
    if digits is None:
        size = abs(value)
        digits = 0 if size in (0, 100) else 2 if size < 1 else 1 if size < 20 or size > 99 else 0
        if 99 < size < 100:
            value = math.copysign(min(size, 99.9), value)  # 100 % is said of everything only
    return f"{value:.{digits}f}%".replace("-", _MINUS)


def change_relative(now: Number, before: Number) -> str | None:
    """Return how much a value changed, None if that can't be said or is nothing.

    >>> change_relative(1.15, 1.0), change_relative(0.996, 1.0), change_relative(1, 0)
    ('+15%', '−0.4%', None)
    """
    if now is None or before is None or not is_known(now) or not is_known(before) or not before:
        return None
    change = (now - before) / abs(before)
    if abs(change) < 0.0005:
        return None
    if change >= 9.995:
        return f"×{now / before:.0f}"
    digits = 0 if abs(change) >= 0.1 else 1
    return f"{change * 100:+.{digits}f}%".replace("-", _MINUS)


def change_points(now: Number, before: Number) -> str | None:
    """Return the difference of two ratios in percentage points.

    >>> change_points(0.33, 0.455), change_points(0.041, 0.04), change_points(0.5, 0.5)
    ('−12.5 pp', '+0.10 pp', None)
    """
    if now is None or before is None or not is_known(now) or not is_known(before):
        return None
    change = (now - before) * 100
    if abs(change) < 0.005:
        return None
    return f"{change:+.{2 if abs(change) < 1 else 1}f} pp".replace("-", _MINUS)


def moment(when: datetime | None, zone: tzinfo = UTC, *, seconds: bool = True) -> str:
    """Return a point in time in the reader's zone.

    >>> moment(datetime(2026, 6, 17, 9, 40, 3, tzinfo=UTC))
    '17 Jun 09:40:03'
    """
    if when is None:
        return UNKNOWN
    return when.astimezone(zone).strftime("%d %b %H:%M:%S" if seconds else "%d %b %H:%M")


def size(bytes_: Number) -> str:
    """Return a number of bytes.

    >>> [size(v).replace("\u202f", " ") for v in (512, 115_000_000, 2.5e9, None)]
    ['512 B', '115 MB', '2.50 GB', '—']
    """
    if bytes_ is None or not is_known(bytes_):
        return UNKNOWN
    number = count(bytes_).replace("B", "G")
    unit = number[-1] if number[-1].isalpha() else ""
    return f"{number.removesuffix(unit)}{NARROW_SPACE}{unit}B"


def ago(age: timedelta) -> str:
    """Return an age in its largest unit.

    >>> ago(timedelta(seconds=42)), ago(timedelta(hours=5)), ago(timedelta(days=3))
    ('42 s ago', '5 h ago', '3 d ago')
    """
    seconds = max(int(age.total_seconds()), 0)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def coverage(priced_ratio: Number) -> str | None:
    """Return the badge of a total that does not cover everything, None if it does.

    >>> coverage(0.97), coverage(1.0), coverage(None)
    ('97% priced', None, None)
    """
    if priced_ratio is None or not is_known(priced_ratio) or priced_ratio >= 1:
        return None
    return f"{percent(priced_ratio)} priced"


def words(name: str | None) -> str:
    """Return a machine's word as a person's.

    >>> words("iteration_cap"), words("cost-per-request"), words(None)
    ('Iteration cap', 'Cost per request', '—')
    """
    spaced = name.replace("_", " ").replace("-", " ") if name else UNKNOWN
    return spaced[:1].upper() + spaced[1:]


def listing(values: Iterable[str | None], limit: int = 2) -> str:
    """Return the first names of a list and how many more there are.

    >>> listing(["a", "b", "c"]), listing([])
    ('a, b +1', '—')
    """
    known = [value for value in values if value]
    if not known:
        return UNKNOWN
    more = f" +{len(known) - limit}" if len(known) > limit else ""
    return ", ".join(known[:limit]) + more


def _scaled(size: float) -> str:
    for scale, suffix in _SCALES:
        if size >= scale * 0.9995:
            value = size / scale
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{digits}f}{suffix}"
    return f"{size:.0f}"
