"""A backtest asked for on the page: run beside the alerts process, one at a time, with its answer kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from taximeter.settings.settings import Settings

MOST_DAYS: Final = 366
_NICE: Final = 10
_MOST_ERROR: Final = 500
Command = Callable[[int], Sequence[str]]


def backtest_command(settings: Settings) -> Command:
    """Return how `taximeter rules backtest` is started on the same configuration."""

    def command(days: int) -> list[str]:
        config = ["--config", str(settings.file)] if settings.file is not None else []
        data = ["--data-dir", str(settings.store.data_dir)]
        part = [sys.executable, "-m", "taximeter_alerts", *config, *data]
        return [*part, "backtest", "--json", "--days", str(days)]

    return command


@dataclass(frozen=True, slots=True)
class Job:
    """The newest backtest."""

    status: str
    """``none``, ``running``, ``done`` or ``failed``."""
    days: int = 0
    text: str | None = None
    """The rules that are judged; None: those in use."""
    started_at: datetime | None = None
    error: str | None = None
    result: dict[str, Any] | None = None


class BacktestJob:
    """A process of its own: evaluation goes on, and a stop ends it."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._job = Job("none")
        self._is_stopped = False

    @property
    def job(self) -> Job:
        return self._job

    def start(self, days: int, now: datetime, text: str | None = None) -> bool:
        """Start one of the rules in use, or of those in a text; return false if one runs already."""
        with self._lock:
            if self._job.status == "running":
                return False
            self._job = job = Job("running", days, text, now)
        threading.Thread(target=self._run, args=(job,), name="backtest", daemon=True).start()
        return True

    def stop(self) -> None:
        """End a running one, also one whose process is about to start."""
        with self._lock:
            self._is_stopped = True
            process = self._process
        if process is not None and process.poll() is None:
            process.terminate()

    def _started(self, job: Job) -> subprocess.Popen[str]:
        """Return the process. Raises OSError where none can be had, or the service stops."""
        command = [*self._command(job.days), *(() if job.text is None else ("-",))]
        with self._lock:
            if self._is_stopped:
                raise OSError("the service stops")
            self._process = process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if job.text is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        return process

    def _run(self, job: Job) -> None:
        try:
            process = self._started(job)
            if sys.platform != "win32":  # whoever waits for an alert comes first
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
            said, error = process.communicate(job.text)
            result = json.loads(said) if process.returncode == 0 else None
        except Exception as fault:  # noqa: BLE001 - one that stays "running" lets no other start
            error, result = str(fault), None
        if result is None:
            last = (error.strip().splitlines() or ["it ended without an answer"])[-1]
            last = last.removeprefix("taximeter alerts: ")
            self._job = replace(job, status="failed", error=last[:_MOST_ERROR])
        else:
            self._job = replace(job, status="done", result=result)
