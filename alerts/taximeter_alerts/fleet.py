"""Tells the collector which budgets are used up and stop calls; agents ask it, not us."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from taximeter.budgets.stops import MOST_STOPS
from taximeter_alerts.judge.budgets import BudgetStatus
from taximeter_alerts.notification_log import time_text
from taximeter_alerts.rules.book import RuleBook
from taximeter_collector.client import QueryError

STALE_AFTER_S: Final = 300.0
"""Beyond the usual age; whoever stops at a budget must not do so on an old answer."""
_log = logging.getLogger("taximeter_alerts")


@dataclass(frozen=True, slots=True)
class Staleness:
    """How old what is known of budgets is, in seconds."""

    as_of: datetime | None
    """The end of the minute that was evaluated last; None: nothing was, since the start."""
    age_s: float | None
    usual_s: float
    """What it is at the most while all is well."""

    @property
    def stale_after_s(self) -> float:
        """At this age nobody should go by it."""
        return self.usual_s + STALE_AFTER_S

    @property
    def is_stale(self) -> bool:
        return self.age_s is None or self.age_s > self.stale_after_s


def staleness(
    book: RuleBook,
    budgets: Sequence[BudgetStatus] | None,
    watermark: datetime | None,
    now: datetime,
) -> Staleness:
    """Return how old budgets are; of none, the evaluation up to ``watermark`` that found none."""
    # The watermark outlives a restart, what was found then does not.
    as_of = None if budgets is None else max((s.at for s in budgets), default=watermark)
    age_s = None if as_of is None else (now - as_of).total_seconds()
    usual = book.settle + book.every + timedelta(minutes=1)
    return Staleness(as_of, age_s, usual.total_seconds())


class Publishes(Protocol):
    """The part of the collector's client that is used here."""

    def publish_budgets(self, budgets: dict[str, Any]) -> None: ...


class Publisher:
    """Publishes at each tick, though little may have changed: the collector may have been restarted."""

    def __init__(
        self,
        book: RuleBook,
        collector: Publishes,
        budgets: Callable[[], Sequence[BudgetStatus] | None],
        watermark: Callable[[], datetime | None],
        clock: Callable[[], datetime],
    ) -> None:
        self._book, self._collector, self._clock = book, collector, clock
        self._budgets, self._watermark = budgets, watermark
        self._said: str | None = None

    def tick(self) -> None:
        """Publish where the budgets stand; a collector that can't be told is said once."""
        budgets = self._budgets()
        if budgets is None:
            return
        known = staleness(self._book, budgets, self._watermark(), self._clock())
        try:
            self._collector.publish_budgets(published(budgets, known))
        except QueryError as error:
            if self._said != error.type:
                _log.warning("agents can't be told of budgets: %s", error.message)
            self._said = error.type
        else:
            self._said = None


def published(budgets: Sequence[BudgetStatus], known: Staleness) -> dict[str, Any]:
    """Return what the collector is told: the budgets that stop calls, of how long ago."""
    stopping = [s for s in budgets if s.is_exhausted and s.budget.on_exhausted == "stop"]
    if len(stopping) > MOST_STOPS:
        _log.warning(
            "%d groups have used up budgets that stop calls, and agents are told of %d: of those"
            " that are passed the furthest",
            len(stopping), MOST_STOPS,
        )  # fmt: skip
        stopping = sorted(stopping, key=lambda s: -s.used_ratio)[:MOST_STOPS]
    return {
        "as_of": time_text(known.as_of),
        "age_s": max(0.0, known.age_s or 0.0),
        "stale_after_s": known.stale_after_s,
        "stops": [_stop(status) for status in stopping],
    }


def _stop(status: BudgetStatus) -> dict[str, Any]:
    budget = status.budget
    return {
        "budget": budget.name,
        "where": {name: list(values) for name, values in budget.where},
        "labels": status.labels,
        "amount_usd": budget.amount_usd,
        "used_usd": status.used.usd,
        "period": budget.period,
        "period_end": f"{status.end:%Y-%m-%dT%H:%MZ}",
        "ends_after_s": (status.end - status.at).total_seconds(),
    }
