"""Texts of an export → exact integers and times. Each refuses with a sentence, never guesses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Final

from taximeter.times import utc
from taximeter_collector.reconcile.rows import ExportError

PICO_PER_USD: Final = 10**12
_MAX_COUNT: Final = 10**18
_MAX_USD: Final = Decimal(10) ** 15


def to_count(value: object, name: str) -> int:
    """Return a count of units; nothing is 0. Raises ExportError.

    >>> to_count("59200.0", "input_tokens"), to_count("", "x"), to_count(None, "x")
    (59200, 0, 0)
    """
    if value is None or value == "":
        return 0
    number = _decimal(value, name)
    if number != number.to_integral_value() or not 0 <= number <= _MAX_COUNT:
        raise ExportError(f"{name} is {value!r}: a count is a whole number from 0")
    return int(number)


def to_pico(value: object, name: str, *, per_usd: int = 1) -> int:
    """Return an amount as pico-USD; ``per_usd`` is 100 for cents. Raises ExportError.

    >>> to_pico("123.45", "amount", per_usd=100), to_pico("0.00383598", "amount_value")
    (1234500000000, 3835980000)
    """
    number = _decimal(value, name)
    if abs(number) > _MAX_USD:
        raise ExportError(f"{name} is {value!r}: no bill is that large")
    return int((number * PICO_PER_USD / per_usd).to_integral_value())


def rounding_of(value: object) -> int:
    """Return half of an amount's last place in pico-USD: what rounding may have hidden.

    >>> rounding_of("0.05"), rounding_of("12")
    (5000000000, 500000000000)
    """
    exponent = _decimal(value, "amount").as_tuple().exponent
    return int(Decimal(PICO_PER_USD).scaleb(exponent if isinstance(exponent, int) else 0) / 2)


def to_time(value: object, name: str) -> datetime:
    """Return a time in UTC from Unix seconds, RFC 3339 or a date. Raises ExportError.

    >>> to_time("2026-11-20", "date").isoformat(), to_time(1764547200, "start_time").isoformat()
    ('2026-11-20T00:00:00+00:00', '2025-12-01T00:00:00+00:00')
    """
    text = str(value).strip()
    try:
        seconds = Decimal(text)
        if seconds.is_finite():
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))
    except (InvalidOperation, OverflowError):
        pass
    try:
        return utc(text)
    except ValueError:
        raise ExportError(f"{name} is {value!r}: that is no date or time") from None


def _decimal(value: object, name: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise ExportError(f"{name} is {value!r}: that is no number")
    try:
        number = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        raise ExportError(f"{name} is {value!r}: that is no number") from None
    if not number.is_finite():
        raise ExportError(f"{name} is {value!r}: that is no number")
    return number
