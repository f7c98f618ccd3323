"""Timing: which calls near a bucket's edge the provider books on the other side. Pure.

Nobody says by which clock a provider counts a call: by its start, its end, or when it was
recorded. A call belongs to us on the day it started. So the calls that were still running, or had
just ended, at the edge are tried on the other side: in the order in which they ended, so many as
make both sides agree best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

REQUESTS: Final = "requests"
COST: Final = "cost"


@dataclass(frozen=True, slots=True)
class EdgeCall:
    """A stored call near an edge."""

    trace_id: str
    span_id: str
    tokens: Mapping[str, int]
    cost_pico: int
    is_across: bool
    """It started before the edge and ended after it."""

    def amount(self, kind: str) -> int:
        """Return what the call adds to one of the compared sums."""
        if kind == REQUESTS:
            return 1
        return self.cost_pico if kind == COST else self.tokens.get(kind, 0)


Residual = Mapping[str, int]
"""Provider minus ours, by kind of unit, requests, or cost."""


def count_moved(calls: Sequence[EdgeCall], before: Residual | None, after: Residual | None) -> int:
    """Return how many of ``calls`` (latest end first) the provider books after the edge.

    ``before`` and ``after`` are what the two sides lack as we book it; None where the export tells
    nothing of a side. More sums that agree exactly decide; among equals the smaller difference,
    and that only for calls across the edge with both sides told: else it would explain anything.

    >>> late = EdgeCall("t", "s", {"input": 70, "output": 9}, 0, True)
    >>> count_moved([late], {"input": -70, "output": -9}, {"input": 70, "output": 9})
    1
    >>> count_moved([late], {"input": 500, "output": 0}, None)
    0
    """
    best, best_score = 0, _score(before, after, {})
    moved: dict[str, int] = {}
    kinds = (before or {}).keys() | (after or {}).keys()
    both = before is not None and after is not None
    for count, call in enumerate(calls, 1):
        for kind in kinds:
            moved[kind] = moved.get(kind, 0) + call.amount(kind)
        score = _score(before, after, moved)
        by_size = both and all(one.is_across for one in calls[:count])
        if score[0] < best_score[0] or (by_size and score < best_score):
            best, best_score = count, score
    return best


def _score(
    before: Residual | None, after: Residual | None, moved: Mapping[str, int]
) -> tuple[int, int]:
    """Return (sums that differ, by how much in all)."""
    left = [gap + moved.get(kind, 0) for kind, gap in (before or {}).items()]
    left += [gap - moved.get(kind, 0) for kind, gap in (after or {}).items()]
    return sum(one != 0 for one in left), sum(map(abs, left))
