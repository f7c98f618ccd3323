"""What this process knows of the fleet's budgets, and the runs that they end.

While what is known is stale, or nothing is, nobody is stopped.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from taximeter.budgets.stops import Stop, Stops
from taximeter.budgets.whose import Model, Whose
from taximeter.guard import guarded, logger
from taximeter.runs.call_cost import Terms, stored_model
from taximeter.runs.levels import Level
from taximeter.runs.limits import CostBudgetReached, LimitReached

_MOST_NAMES: Final = 1_000


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer. Times are of the monotonic clock."""

    stops: Stops = field(default_factory=Stops)
    since: float = 0.0
    """From when on its stops count until their periods end."""
    true_at: float | None = None
    """When it was true last; None: nothing is known."""

    def is_fresh(self) -> bool:
        """Return whether it may be gone by now."""
        if self.true_at is None:
            return False
        return time.monotonic() - self.true_at <= self.stops.stale_after_s

    def binding(self, whose: Whose) -> Stop | None:
        """Return what stops a call."""
        return self.stops.binding(whose, time.monotonic() - self.since)


class Fleet:
    """The last answer, looked at before each call."""

    def __init__(self, kept: Kept | None = None, *, user_key: str | None = None) -> None:
        """``user_key``: the secret that user ids are hashed with before they leave."""
        self.kept = kept or Kept()
        self._user_key = user_key
        self._lock = threading.Lock()
        self._is_well, self._has_left_out = True, False
        self._answered: dict[Model, Model] = {}
        self.failed: Counter[str] = Counter()
        """Answers that could not be gone by, by reason; ``stale``: calls that an old one let pass, too."""

    def begin(self) -> None:
        """Keep it up to date: nothing to do where somebody else does."""

    def stop(self) -> None:
        """Keep it up to date no longer."""

    def check(
        self, levels: Sequence[Level], terms: Terms | None, resource: Mapping[str, Any]
    ) -> None:
        """Raise CostBudgetReached where a budget that is used up stops a call of these levels."""
        kept = self.kept
        if not kept.stops.by_group or not levels:
            return
        if not kept.is_fresh():
            self.note("stale", "the last answer is too old")
        elif stop := kept.binding(Whose(levels, terms, resource, self._user_key, self._answered)):
            raise _reached(stop, levels[0])

    @guarded(default=None)
    def learn(self, terms: Terms, asked: str | None) -> None:
        """Note which model has answered, of which provider: what the asked-for name means in the store."""
        if asked:
            name = stored_model(terms._replace(model=asked), None)
            if name in self._answered or len(self._answered) < _MOST_NAMES:
                self._answered[name] = stored_model(terms._replace(model=asked), terms.model)

    def note(self, kind: str, why: str) -> None:
        """Count that nobody is stopped for want of an answer, and say so once."""
        with self._lock:
            self.failed[kind] += 1
            was_well, self._is_well = self._is_well, False
        if was_well:
            logger.warning("budgets of the fleet stop no calls here, they are not known: %s", why)

    def well(self, left_out: int) -> None:
        """Say that budgets are known again, and what of them can't be read: once."""
        with self._lock:
            was_well, self._is_well = self._is_well, True
            is_news, self._has_left_out = left_out and not self._has_left_out, bool(left_out)
        if not was_well:
            logger.info("budgets of the fleet are known, after %d failures", self.failed.total())
        if is_news:
            logger.warning(
                "%d budgets of the fleet are of a kind that this version of taximeter does not know:"
                " they stop no calls here",
                left_out,
            )


def _reached(stop: Stop, level: Level) -> LimitReached:
    """Return the exception that ends the innermost run for a budget of the whole fleet."""
    why = (
        f"${stop.used_usd:,.2f} of ${stop.amount_usd:,.2f} per {stop.period} used by all processes"
    )
    reached = CostBudgetReached(
        stop.budget, stop.amount_usd, level.used(), level.partial,
        level="budget", name="cost_usd", why=f"{why}, until {stop.period_end}",
    )  # fmt: skip
    reached.run = level
    return reached
