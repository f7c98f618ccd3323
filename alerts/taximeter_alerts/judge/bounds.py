"""The bound of a failure rate. Pure."""

from __future__ import annotations

import math
from typing import Final

WILSON_Z: Final = 3.29
"""One-sided 99.95 %: four windows are looked at every minute."""


def wilson_low(failures: float, trials: float, z: float = WILSON_Z) -> float:
    """Return the lower bound of the true rate.

    >>> round(wilson_low(5, 10), 2), wilson_low(0, 10)
    (0.14, 0.0)
    """
    if trials <= 0:
        return 0.0
    p = failures / trials
    centre = p + z * z / (2 * trials)
    spread = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    return max(0.0, (centre - spread) / (1 + z * z / trials))
