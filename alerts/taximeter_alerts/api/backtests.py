"""Backtests over HTTP: one is started, of the rules in use or of a text, and its answer is read later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import Route

from taximeter_alerts.api.rules_text import Answer, RulesText, text_of
from taximeter_alerts.backtest.backtest_job import MOST_DAYS, BacktestJob, Job
from taximeter_alerts.notification_log import time_text
from taximeter_alerts.rules.rules_on_disk import digest_of


@dataclass(frozen=True, slots=True)
class Backtests:
    """The handlers of /api/backtest; the API that serves them checks who asks."""

    job: BacktestJob | None
    rules_text: RulesText | None
    clock: Callable[[], datetime]

    def routes(
        self, guarded: Callable[[Answer], Any], guarded_write: Callable[[Answer], Any]
    ) -> list[Route]:
        path = "/api/backtest"
        return [
            Route(path, guarded(self.newest)),
            Route(path, guarded_write(self.start), methods=["POST"]),
        ]

    def newest(self, _: dict[str, Any]) -> dict[str, Any]:
        """The newest backtest that was asked for here, and what it found."""
        job = self.job.job if self.job is not None else Job("none")
        return {
            "backtest": {
                "status": job.status,
                "days": job.days,
                "digest": None if job.text is None else digest_of(job.text),
                "started_at": time_text(job.started_at),
                "error": job.error,
                "result": job.result,
            }
        }

    def start(self, body: dict[str, Any]) -> dict[str, Any]:
        """Start one of so many days (30), in a process of its own: of the rules in use, or of a text."""
        days, text = body.get("days", 30), None
        if type(days) is not int or not 1 <= days <= MOST_DAYS:
            raise HTTPException(400, f"days must be a whole number from 1 to {MOST_DAYS}.")
        if "text" in body and self.rules_text is not None:
            text = text_of(body)
            self.rules_text.book(text)
        if self.job is None or not self.job.start(days, self.clock(), text):
            raise HTTPException(409, "A backtest is running: wait for its answer.")
        return self.newest({})
