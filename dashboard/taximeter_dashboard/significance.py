"""Two versions' sums in, how sure their difference is out. Pure.

Every compared number is a ratio of sums over requests or runs, Σx / Σy. Its standard error is that of
a ratio estimate, which counts a request with many tokens as one request, not as many tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Final, Literal

Certainty = Literal["sure", "likely", "may be chance", "too few", ""]
FEW: Final = 10
_SURE, _LIKELY = 3.3, 2.0  # standard errors: by chance alone once in 1,000 and once in 22


@dataclass(frozen=True, slots=True)
class Ratio:
    """Σx / Σy over n requests or runs, with the sums that its error needs."""

    n: int
    x: float
    y: float
    xx: float
    xy: float
    yy: float

    @property
    def value(self) -> float | None:
        return self.x / self.y if self.y else None

    @property
    def variance(self) -> float | None:
        """The square of the standard error; None where a single request can't tell it."""
        if self.n < 2 or not self.y:
            return None
        r = self.x / self.y
        squares = max(self.xx - 2 * r * self.xy + r * r * self.yy, 0.0)
        return self.n / (self.n - 1) * squares / self.y**2


def rate(hits: int, n: int) -> Ratio:
    """Return the ratio of a yes-or-no count.

    >>> rate(3, 12).value
    0.25
    """
    return Ratio(n, hits, n, hits, hits, n)


def mean(n: int, x: float, xx: float) -> Ratio:
    """Return the ratio of a mean, from the sum and the sum of squares."""
    return Ratio(n, x, n, xx, x, n)


def certainty(before: Ratio, after: Ratio) -> Certainty:
    """Return how sure it is that two numbers differ by more than chance, "" where one is unknown.

    >>> certainty(rate(10, 1000), rate(60, 1000)), certainty(rate(1, 30), rate(2, 30))
    ('sure', 'may be chance')
    """
    if before.value is None or after.value is None:
        return ""
    if min(before.n, after.n) < FEW:
        return "too few"
    one, other = before.variance, after.variance
    error = sqrt((one or 0.0) + (other or 0.0))
    distance = abs(after.value - before.value)
    if not distance:
        return "may be chance"
    if distance >= _SURE * error:
        return "sure"
    return "likely" if distance >= _LIKELY * error else "may be chance"
