"""A budget of the fleet that is used up, without a collector: what do your agents do then?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from taximeter import lifecycle
from taximeter.budgets.fleet import Fleet, Kept
from taximeter.budgets.stops import Stop, Stops

_DAY_S = 86_400.0


@contextmanager
def exhausted_budget(
    budget: str = "tests", *, amount_usd: float = 1.0, **labels: str
) -> Iterator[None]:
    """Let calls inside the block meet a budget that is used up and stops: ``tenant="acme"``, …; none: all.

    Raises RuntimeError before `taximeter.init()`.
    """
    meter = lifecycle.meter()
    if meter is None:
        raise RuntimeError("exhausted_budget: call taximeter.init() first")
    stop = Stop(
        budget, (), tuple(sorted(labels.items())), amount_usd, amount_usd, "day", "midnight", _DAY_S
    )
    stops = Stops(stale_after_s=_DAY_S)
    stops.add(stop)
    before, now = meter.fleet, time.monotonic()
    meter.fleet = Fleet(Kept(stops, since=now, true_at=now))
    try:
        yield
    finally:
        meter.fleet = before
