"""Keeps processes alive: started, started again after a pause that grows, stopped in order.

`taximeter up` is made of it. The last started is stopped first, so that the collector still takes
in what the others send at their end.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from taximeter.settings.ports import read_ports

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
GOOD_LIFE_S: Final = 60.0
"""After so long a run the next failure counts as the first."""

STOP_PATIENCE_S: Final = 20.0
LOG_BYTES: Final = 5_000_000
WRONG_CONFIGURATION: Final = 2
"""The exit code of a part that another start would not help."""


class StartError(Exception):
    """A part did not come up; the message says why and where its log is."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopAsked(Exception):
    """The user stopped the supervisor while it was starting its parts."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process: its name, as in ports.json, and its module."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    is_kept: bool = True
    """False: when it has ended, leave it at that."""


@dataclass(frozen=True, slots=True)
class _Running:
    part: Part
    process: subprocess.Popen[bytes]
    started: float
    failures: int


@dataclass(frozen=True, slots=True)
class _Ended:
    run: _Running


@dataclass(frozen=True, slots=True)
class _Due:
    part: Part
    failures: int


class Supervisor:
    """Runs parts in the thread that calls it; the signal handlers may call `ask_to_stop`."""

    def __init__(
        self, data_dir: Path, environment: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self._data_dir, self._say = data_dir, say
        self._environment = {**environment, "TAXIMETER_SUPERVISOR_PID": str(os.getpid())}
        self._running: dict[str, _Running] = {}
        self._events: queue.SimpleQueue[_Ended | _Due | None] = queue.SimpleQueue()
        self._stop_asked = threading.Event()

    def start(self, part: Part, failures: int = 0) -> None:
        """Start a part and watch it."""
        with self._open_log(part.name) as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "taximeter.cli.supervised", part.module, *part.arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Its own group: a Ctrl-C reaches us alone, and we stop the parts in order.
                process_group=0,
                # Telemetry may hold what people wrote: it is this user's alone.
                umask=0o077,
            )
        run = _Running(part, process, time.monotonic(), failures)
        self._running[part.name] = run
        threading.Thread(target=self._watch, args=(run,), daemon=True).start()

    def wait_ready(self, name: str, timeout_s: float) -> dict[str, int]:
        """Return a part's ports once it has written them. Raises StartError or StopAsked."""
        process = self._running[name].process
        give_up = time.monotonic() + timeout_s
        while time.monotonic() < give_up:
            entry = read_ports(self._data_dir).get(name, {})
            if entry.get("pid") == process.pid:
                return entry
            if (code := process.poll()) is not None:
                raise StartError(self._why(name, code), 2 if code == WRONG_CONFIGURATION else 1)
            if self._stop_asked.wait(0.05):
                raise StopAsked
        raise StartError(f"{name} was not ready after {timeout_s:.0f} s (log: {self.log(name)}).")

    def pin(self, variables: Mapping[str, str]) -> None:
        """Set variables for every part started from now on: who comes back, comes back there."""
        self._environment.update(variables)

    def keep(self) -> int:
        """Keep the parts alive until asked to stop; return the exit code."""
        while (event := self._events.get()) is not None:
            if isinstance(event, _Due):
                self.start(event.part, event.failures)
                continue
            part, code = event.run.part, event.run.process.returncode
            if code == WRONG_CONFIGURATION:
                self._say(self._why(part.name, code))
                return WRONG_CONFIGURATION
            if not part.is_kept:
                self._say(f"{part.name} is done." if code == 0 else self._why(part.name, code))
                continue
            self._start_later(event.run, code)
        return 0

    def ask_to_stop(self) -> None:
        """End `keep` and `wait_ready`; asked again, kill what still runs."""
        if self._stop_asked.is_set():
            for run in self._running.values():
                _send(run.process, signal.SIGKILL)
        self._stop_asked.set()
        self._events.put(None)

    def stop(self) -> None:
        """Stop all parts, the last started first, each with time to finish."""
        self._stop_asked.set()
        for run in reversed(list(self._running.values())):
            _send(run.process, signal.SIGTERM)
            try:
                run.process.wait(STOP_PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._say(f"{run.part.name} did not stop in {STOP_PATIENCE_S:.0f} s: killed.")
                _send(run.process, signal.SIGKILL)
                run.process.wait()
            _end_orphans(run.process.pid)
        self._running.clear()

    def log(self, name: str) -> Path:
        """Return the file with a part's output."""
        return self._data_dir / "logs" / f"{name}.log"

    def _start_later(self, run: _Running, code: int) -> None:
        is_first = time.monotonic() - run.started > GOOD_LIFE_S
        failures = 1 if is_first else run.failures + 1
        pause_s = pause_before(failures)
        self._say(f"{self._why(run.part.name, code)} Starting it again in {pause_s:g} s.")
        due = _Due(run.part, failures)
        timer = threading.Timer(pause_s, self._events.put, args=(due,))
        timer.daemon = True
        timer.start()

    def _watch(self, run: _Running) -> None:
        run.process.wait()
        if not self._stop_asked.is_set():
            self._events.put(_Ended(run))

    def _why(self, name: str, code: int) -> str:
        how = f"was ended by signal {-code}" if code < 0 else f"stopped with exit code {code}"
        last = _last_line(self.log(name))
        return f"{name} {how}{f': {last}' if last else ''} (log: {self.log(name)})."

    def _open_log(self, name: str) -> IO[bytes]:
        file = self.log(name)
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.parent.mkdir(mode=0o700, exist_ok=True)
            is_long = file.exists() and file.stat().st_size > LOG_BYTES
            return file.open("wb" if is_long else "ab")
        except OSError as error:
            raise StartError(
                f"cannot write {error.filename} ({error.strerror}): name a directory of yours "
                "with --data-dir or TAXIMETER_STORE_DATA_DIR.",
                WRONG_CONFIGURATION,
            ) from None


def pause_before(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row.

    >>> [pause_before(n) for n in (1, 2, 3, 9)]
    [1.0, 2.0, 4.0, 30.0]
    """
    return min(FIRST_PAUSE_S * 2.0 ** (failures - 1), LONGEST_PAUSE_S)


def _send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def _end_orphans(group: int) -> None:
    """Stop what a part has left behind: each part leads a process group of its own."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGTERM)


def _last_line(log: Path) -> str:
    with contextlib.suppress(OSError), log.open("rb") as stream:
        stream.seek(max(log.stat().st_size - 4096, 0))
        lines = stream.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip()[:300].rstrip(".") if lines else ""
    return ""
