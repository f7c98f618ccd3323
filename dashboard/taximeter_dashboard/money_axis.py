"""A value axis in dollars: round steps, the sign before the currency, and tooltips with digits that suit. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

Spec = dict[str, Any]
_INTERVALS: Final = 4
_NOTABLE: Final = 0.01
"""The share of the highest value from which on what is below zero gets room."""


def bounds(columns: Iterable[Iterable[float | None]]) -> tuple[float, float]:
    """Return the lowest and the highest end of stacks; each column is one stack.

    >>> bounds([[1, 2, None], [-1, 3]])
    (-1, 3)
    """
    low = high = 0.0
    for column in columns:
        known = [value for value in column if value is not None]
        low = min(low, sum(value for value in known if value < 0))
        high = max(high, sum(value for value in known if value > 0))
    return low, high


def money_axes(axis: Spec, low: float, high: float) -> Spec | list[Spec]:
    """Return the axis in dollars; where money is lost two, since a template can't put − before $.

    The second one runs the other way and labels what is below zero.
    """
    label = {**axis["axisLabel"], "formatter": "${value}"}
    if low > -_NOTABLE * high or low == 0:
        return {**axis, "axisLabel": label}
    step = round_step((high - low) / _INTERVALS)
    below, above = math.ceil(-low / step), math.ceil(high / step)
    gains = [round(step * i, 12) for i in range(above + 1)]
    losses = [round(step * i, 12) for i in range(1, below + 1)]
    return [
        {**axis, "min": -step * below, "max": step * above, "interval": step,
         "axisLabel": {**label, "customValues": gains}},
        {**axis, "min": -step * above, "max": step * below, "interval": step, "inverse": True,
         "position": "left", "splitLine": {"show": False},
         "axisLabel": {**label, "formatter": "\u2212${value}", "customValues": losses}},
    ]  # fmt: skip


def round_step(size: float) -> float:
    """Return the next larger of 1, 2, 5, 10 … times a power of ten.

    >>> [round_step(size) for size in (0.3, 1.0, 17, 230)]
    [0.5, 1.0, 20.0, 500.0]
    """
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if size <= factor * power * 1.000001)


def money_tip(high: float) -> str:
    """Return how a tooltip writes dollars, so that small parts do not read $0.00.

    >>> money_tip(0.4), money_tip(40)
    ('$%.4f', 'dollar')
    """
    return "$%.4f" if high < 1 else "$%.3f" if high < 10 else "dollar"
