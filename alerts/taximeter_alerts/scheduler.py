"""Says when, on APScheduler (its only import); what to do is decided by watermark and outbox."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

_EVALUATE: Final = "evaluate"
_WATCH_S: Final = 5.0
_PATIENCE_S: Final = 15.0
_LATE_TICKS: Final = 3
_log = logging.getLogger("taximeter_alerts")


class Scheduler:
    """Runs the evaluation every so often and each receiver's sender once a second."""

    def __init__(
        self,
        every: timedelta,
        evaluate: Callable[[], object],
        receivers: Iterable[str],
        send_next: Callable[[str], object],
    ) -> None:
        self._every_s = every.total_seconds()
        self._evaluate = evaluate
        self._ticked = time.monotonic()
        self._is_evaluating = False
        self._stopped = threading.Event()
        names = list(receivers)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(2 + len(names))},
            # Late runs are merged to one and run, however late; never two at a time.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        now = datetime.now(UTC)
        self._scheduler.add_job(
            self._tick, "interval", seconds=self._every_s, id=_EVALUATE, next_run_time=now
        )
        for name in names:
            self._scheduler.add_job(
                _quietly(send_next), "interval", seconds=1, args=[name], id=f"send:{name}"
            )
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        self._scheduler.start()
        self._watchdog.start()

    def stop(self) -> None:
        """Let what runs come to its end."""
        self._stopped.set()
        self._scheduler.shutdown(wait=True)

    def _tick(self) -> None:
        self._ticked = time.monotonic()
        self._is_evaluating = True
        try:
            self._evaluate()
        finally:
            self._is_evaluating = False
            self._ticked = time.monotonic()

    def _watch(self) -> None:
        """Wake the jobs after a clock set back, when APScheduler waits for the old time again."""
        patience_s = max(_LATE_TICKS * self._every_s, _PATIENCE_S)
        while not self._stopped.wait(_WATCH_S):
            if time.monotonic() - self._ticked <= patience_s:
                continue
            self._ticked = time.monotonic()
            if self._is_evaluating:
                _log.warning(
                    "an evaluation runs for more than %.0f s: alerts are late until it ends",
                    patience_s,
                )
                continue
            _log.warning("no evaluation for %.0f s: the clock was set back; again", patience_s)
            for job in self._scheduler.get_jobs():
                seconds = self._every_s if job.id == _EVALUATE else 1
                self._scheduler.reschedule_job(job.id, trigger="interval", seconds=seconds)


def _quietly(send_next: Callable[[str], object]) -> Callable[[str], None]:
    def send(receiver: str) -> None:
        send_next(receiver)

    return send


# A job a second is no news.
logging.getLogger("apscheduler").setLevel(logging.ERROR)
