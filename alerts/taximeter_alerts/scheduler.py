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
_SEND: Final = "send:"
_MOST_THREADS: Final = 32
"""Made when they are needed; more receivers than that wait for one another."""
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
        self._send_next = _quietly(send_next)
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            executors={"default": ThreadPoolExecutor(_MOST_THREADS)},
            # Late runs are merged to one and run, however late; never two at a time.
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        now = datetime.now(UTC)
        self._scheduler.add_job(
            self._tick, "interval", seconds=self._every_s, id=_EVALUATE, next_run_time=now
        )
        self._serve(receivers)
        self._watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def follow(self, every: timedelta, receivers: Iterable[str]) -> None:
        """Evaluate this often, and send to these receivers, from now on."""
        if every.total_seconds() != self._every_s:
            self._every_s = every.total_seconds()
            self._scheduler.reschedule_job(_EVALUATE, trigger="interval", seconds=self._every_s)
        self._serve(receivers)

    def _serve(self, receivers: Iterable[str]) -> None:
        jobs = {f"{_SEND}{name}": name for name in receivers}
        known = {job.id for job in self._scheduler.get_jobs()} - {_EVALUATE}
        for id in known - jobs.keys():
            self._scheduler.remove_job(id)
        for id in jobs.keys() - known:
            self._scheduler.add_job(self._send_next, "interval", seconds=1, args=[jobs[id]], id=id)

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
        while not self._stopped.wait(_WATCH_S):
            patience_s = max(_LATE_TICKS * self._every_s, _PATIENCE_S)
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
