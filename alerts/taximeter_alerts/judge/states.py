"""Where every rule stands for every group, in memory alone: findings in, steps out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.judge.judging import Findings, Key
from taximeter_alerts.judge.state import AlertState, Step, is_at_rest, step


class States:
    """Keeps what is not at rest."""

    def __init__(self) -> None:
        self._kept: dict[Key, AlertState] = {}

    def take(self, found: Findings, at: datetime) -> Iterator[tuple[Finding, Step]]:
        """Yield the steps of what may have changed."""
        for finding in found.news(lambda rule, key, _: (rule, key) not in self._kept):
            key = (finding.rule.name, finding.key)
            taken = step(self._kept.pop(key, AlertState()), finding.rule, finding.verdict, at)
            if not is_at_rest(taken.state):
                self._kept[key] = taken.state
            yield finding, taken
