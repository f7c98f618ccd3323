"""What an evaluation found about one rule and group."""

from __future__ import annotations

from dataclasses import dataclass

from taximeter_alerts.judge.budgets import BudgetStatus
from taximeter_alerts.judge.cause import Cause
from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.rules.book import Rule, Severity, labels_key


@dataclass(frozen=True, slots=True)
class Finding:
    """What an evaluation found about one rule and group."""

    rule: Rule
    labels: dict[str, str | None]
    verdict: Verdict
    sentence: str
    severity: Severity
    past_day: tuple[float | None, ...] = ()
    """The metric's last day, where somebody may be told of it."""
    cause: Cause | None = None
    """What made it breach, where somebody may be told of it."""
    budget: BudgetStatus | None = None
    """Where the budget stands, of a rule that is a level of one."""

    @property
    def key(self) -> str:
        return labels_key(self.labels)
