"""Order statistics of many groups at once: values and the group of each in, one number a group out. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Segments:
    """Values in order within their groups.

    >>> found = Segments(np.array([7, 3, 7, 7]), np.array([5.0, 1.0, 2.0, 4.0]))
    >>> found.ids, found.median(), found.nth(-1)
    (array([3, 7]), array([1., 4.]), array([1., 5.]))
    """

    def __init__(self, group: Ints, value: Floats) -> None:
        order = np.lexsort((value, group))
        group, self._value = group[order], value[order]
        is_first = np.ones(len(group), dtype=bool)
        is_first[1:] = group[1:] != group[:-1]
        self._first = np.flatnonzero(is_first)
        self.ids = group[self._first]
        """The groups that have a value, each once, in order."""
        self.size: Ints = np.diff(self._first, append=len(group))

    def nth(self, place: int | Ints) -> Floats:
        """Return the value at a place of each group, or the nearest there is; negative: from the top."""
        places = np.broadcast_to(place, self.size.shape)
        wanted = np.where(places < 0, self.size + places, places)
        return self._at(np.clip(wanted, 0, self.size - 1))

    def median(self) -> Floats:
        found: Floats = (self._at((self.size - 1) // 2) + self._at(self.size // 2)) / 2
        return found

    def quantile(self, q: float) -> Floats:
        """Return the quantile ``q`` (0 to 1) of each group, linear between two."""
        position = q * (self.size - 1)
        low = np.floor(position).astype(np.int64)
        below, above = self._at(low), self._at(np.minimum(low + 1, self.size - 1))
        found: Floats = below + (above - below) * (position - low)
        return found

    def _at(self, place: Ints) -> Floats:
        found: Floats = self._value[self._first + place]
        return found


def spread(ids: Ints, values: Any, size: int) -> Floats:
    """Return the values at their places, NaN at others."""
    found = np.full(size, np.nan)
    found[ids] = values
    return found


def number_of(ids: Ints, size: int) -> Ints:
    """Return how often each place is named."""
    return np.bincount(ids, minlength=size).astype(np.int64)
