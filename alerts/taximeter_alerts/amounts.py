"""Durations, moments, money and shares: what people write in, numbers and sentences out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_duration(text: str) -> timedelta:
    """Return the duration that a text such as `90s`, `5m`, `2h` or `1d` names. Raises ValueError.

    >>> parse_duration("5m")
    datetime.timedelta(seconds=300)
    """
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise ValueError(f"not a duration: {text!r} (write 30s, 5m, 2h or 1d)")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def parse_moment(text: str) -> datetime:
    """Return a time from 2000 to 9000 in UTC; without a zone it is UTC. Raises ValueError.

    >>> parse_moment("2026-12-24T18:00+02:00")
    datetime.datetime(2026, 12, 24, 16, 0, tzinfo=datetime.timezone.utc)
    """
    hint = f"not a time: {text!r} (write 2026-12-24T18:00Z)"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(hint) from None
    if not 2000 <= when.year <= 9000:
        raise ValueError(hint)
    return when.astimezone(UTC) if when.tzinfo is not None else when.replace(tzinfo=UTC)


def parse_time(text: str) -> time:
    """Return a time of day. Raises ValueError.

    >>> parse_time("08:30")
    datetime.time(8, 30)
    """
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise ValueError(f"not a time of day: {text!r} (write 08:00)")
    return time(int(match[1]), int(match[2]))


def parse_amount(text: str, unit: str) -> float:
    """Return a limit in a metric's unit: `$5`, `20%`, `1.5`, and `30s` for seconds.

    >>> parse_amount("$1,500", "USD"), parse_amount("20%", "ratio"), parse_amount("2m", "seconds")
    (1500.0, 0.2, 120.0)
    """
    plain = text.replace(",", "")
    if unit == "USD":
        return _number(plain.removeprefix("$"), f"not an amount of money: {text!r} (write $5)")
    if unit == "ratio":
        hint = f"not a share: {text!r} (write 20% or 0.2)"
        if plain.endswith("%"):
            return _number(plain[:-1], hint) / 100
        share = _number(plain, hint)
        if share > 1:
            raise ValueError(hint)
        return share
    if unit == "seconds" and re.fullmatch(r"\d+[smhd]", plain):
        return parse_duration(plain).total_seconds()
    return _number(plain, f"not a number: {text!r}")


def parse_count(text: str) -> int:
    """Return a whole number that is not negative. Raises ValueError."""
    if not re.fullmatch(r"\d{1,9}", text):
        raise ValueError(f"not a whole number: {text!r}")
    return int(text)


def say_count(number: int, noun: str) -> str:
    """Return a number of things.

    >>> say_count(1, "receiver"), say_count(2, "own rule")
    ('1 receiver', '2 own rules')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def say_duration(seconds: float) -> str:
    """Return a duration in its largest fitting unit.

    >>> say_duration(90), say_duration(3600), say_duration(86400)
    ('90 s', '1 h', '24 h')
    >>> say_duration(8_520), say_duration(130_000)
    ('2 h 22 min', '36 h')
    """
    whole = round(seconds)
    if whole >= 36_000:
        return f"{round(whole / 3_600)} h"
    if whole >= 3_600 and whole % 3_600 == 0:
        return f"{whole // 3_600} h"
    if whole >= 7_200:
        return f"{whole // 3_600} h {whole % 3_600 // 60} min"
    if whole >= 120 or whole == 60:
        return f"{round(whole / 60)} min"
    return f"{whole} s"


def say_amount(value: float, unit: str) -> str:
    """Return a value with its unit, as short as it stays honest.

    >>> say_amount(0.4211, "USD"), say_amount(0.0312, "ratio"), say_amount(31.25, "1")
    ('$0.42', '3.1 %', '31.2')
    >>> say_amount(5.02, "1")
    '5'
    """
    if unit == "USD":
        sign, size = ("-" if value < 0 else ""), abs(value)
        return f"{sign}${_significant(size)}" if 0 < size < 0.1 else f"{sign}${size:,.2f}"
    if unit == "ratio":
        return f"{_short(value * 100)} %"
    if unit == "seconds":
        return f"{_short(value)} s"
    return _short(value)


def _significant(size: float) -> str:
    text = f"{size:.2g}"
    return f"{size:.8f}".rstrip("0") if "e" in text else text


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}".removesuffix(".0")


def _number(text: str, hint: str) -> float:
    if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", text):
        raise ValueError(hint)
    return float(text)
