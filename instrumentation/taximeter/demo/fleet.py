"""The fleet: a back-fill of the whole history, newest day first, and then live traffic.

The parent process starts the fake model API and the deployments, and only counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Any, Final

from taximeter.demo.agents.warm_up import warm_up
from taximeter.demo.deployment import Addresses, LiveGap, Report, back_fill, live
from taximeter.demo.fake_api import FakeApi, serve_until_stopped
from taximeter.demo.incidents import place_incidents
from taximeter.demo.plans.history import DAY, LINES, History, Line
from taximeter.demo.processes import Child, ChildDied, Task, run_tasks, start_child
from taximeter.demo.rhythm import machine_offset, open_office
from taximeter.demo.stored import count_stored_requests
from taximeter.demo.summary import describe_incidents, describe_report

USUAL_DAYS: Final = 14.0
WORKERS: Final = 2
READY_TIMEOUT_S: Final = 30.0
SAY_EVERY_S: Final = 2.0
LIVE_FIRST_S: Final = 2.0
LIVE_SETTLED_S: Final = 30.0
LIVE_TICK_S: Final = 0.5


class FleetError(Exception):
    """The fleet can't go on; the message says what to do."""


@dataclass(slots=True)
class Fleet:
    """Runs a history and live traffic against one collector."""

    history: History
    collector: str
    say: Callable[[str], None]
    report: Report = field(default_factory=Report)
    served: list[Mapping[str, Any]] = field(default_factory=list)
    """The fake API's books on the history: calls and tokens by model."""
    _stopped: bool = False

    def run(self, *, is_live: bool, is_forced: bool, query_token: str | None) -> Report:
        """Back-fill, then go live if asked; return what was done. Raises FleetError.

        A collector that holds a demo's history already gets no second one unless `is_forced`.
        """
        wait_until_ready(self.collector)
        with self._signals():
            try:
                if self.history.days and (is_forced or not self._is_stored(query_token)):
                    self._back_fill()
                    self._say_summary()
                if is_live and not self._stopped:
                    before = self.report.requests
                    self._go_live()
                    self.say(f"demo: stopped after {self.report.requests - before:,} live requests")
            except ChildDied as error:
                raise FleetError(
                    f"The demo stopped early: {error}. Run it again with another --seed, "
                    "and look at the lines above for the reason."
                ) from None
        return self.report

    def _is_stored(self, query_token: str | None) -> bool:
        since = self.history.office.now - self.history.days * DAY
        services = sorted({line.service for line in LINES})
        stored = count_stored_requests(self.collector, services, since, query_token)
        planned = sum(len(self.history.plans(job)) for job in self.history.jobs())
        is_stored = stored > planned / 2
        if is_stored:
            self.say(
                f"demo: the collector holds {stored:,} requests of the demo fleet already; "
                "--again makes another history"
            )
        return is_stored

    def _back_fill(self) -> None:
        started, said = time.monotonic(), 0.0
        with model_api(pace=0.0) as url:
            warm_up(url)
        # What is there now outlives every child: keep their collectors from walking through it.
        gc.freeze()
        with model_api(pace=0.0) as url:
            addresses = Addresses(self.collector, url)
            tasks = [
                Task(back_fill, (self.history, job, addresses), Report)
                for job in self.history.jobs()
            ]
            with contextlib.closing(run_tasks(tasks, WORKERS)) as reports:
                for number, report in enumerate(reports, start=1):
                    self.report.merge(report)
                    elapsed = time.monotonic() - started
                    if elapsed - said >= SAY_EVERY_S or number == len(tasks):
                        said = elapsed
                        self._say_progress(number / len(tasks), elapsed)
                    if self._stopped:
                        break
            self.served = read_ledger(url)

    def _say_progress(self, share: float, elapsed: float) -> None:
        self.say(
            f"demo: {share:4.0%} of {self.history.days:g} days, "
            f"{self.report.requests:,} requests, {self.report.spans:,} spans, {elapsed:.0f} s"
        )

    def _say_summary(self) -> None:
        self.say("demo: hidden in it:")
        beginning = self.history.office.now - self.history.days * DAY
        for line in describe_incidents(self.history.incidents, beginning):
            self.say(f"demo:   {line}")
        self.say(describe_report(self.report))

    def _go_live(self) -> None:
        self.say("demo: live, a few requests at a time; stop with Ctrl-C")
        lines = [line for line in LINES if line.per_hour >= 1]
        started_ns = time.time_ns()
        total = sum(line.per_hour for line in lines)
        with model_api(pace=1.0) as url:
            addresses = Addresses(self.collector, url)

            def start(line: Line) -> Child[Report]:
                share = line.per_hour / total
                gap = LiveGap(started_ns, LIVE_FIRST_S / share, LIVE_SETTLED_S / share)
                return start_child(Task(live, (self.history, line, gap, addresses), Report))

            children = {line: start(line) for line in lines}
            while not self._stopped:
                time.sleep(LIVE_TICK_S)
                for line, child in children.items():
                    if not self._stopped and child.results.poll():
                        self._collect(child)
                        children[line] = start(line)
            for child in children.values():
                child.process.terminate()
            for child in children.values():
                self._collect(child)
                child.stop()

    def _collect(self, child: Child[Report]) -> None:
        """Count what a live deployment has done; one that a signal has ended can't say."""
        if child.results.poll(READY_TIMEOUT_S):
            with contextlib.suppress(ChildDied):
                self.report.merge(child.result())

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: FrameType | None) -> None:
            self._stopped = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def open_history(now: datetime, days: float, seed: int) -> History:
    """Return the history that ends now, in the office of this machine."""
    office = open_office(now, machine_offset())
    return History(office, place_incidents(office, days or USUAL_DAYS), days, seed)


@contextlib.contextmanager
def model_api(*, pace: float) -> Iterator[str]:
    """Run the fake model API in a process of its own; yield its address."""
    child = start_child(Task(_serve_model_api, (pace,), str))
    try:
        yield child.result()
    finally:
        child.stop()


def read_ledger(api_url: str) -> list[Mapping[str, Any]]:
    """Return what a fake API has served: one row for each model, tier and kind of call."""
    with urllib.request.urlopen(f"{api_url}/demo/ledger", timeout=READY_TIMEOUT_S) as answer:
        rows: list[Mapping[str, Any]] = json.load(answer)["served"]
    return rows


def wait_until_ready(collector: str) -> None:
    """Return when the collector takes spans. Raises FleetError when it does not in time."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        try:
            with urllib.request.urlopen(f"{collector}/healthz", timeout=5):
                return
        except urllib.error.HTTPError:
            return
        except (OSError, ValueError) as error:
            if time.monotonic() > deadline or isinstance(error, ValueError):
                raise FleetError(
                    f"No collector answers at {collector}: start one with `taximeter up`, "
                    "or name its address with --endpoint."
                ) from None
        time.sleep(0.25)


def _serve_model_api(send: Callable[[str], None], pace: float) -> None:
    api = FakeApi(pace=pace)
    asyncio.run(serve_until_stopped(api, lambda: send(api.anthropic_url), (signal.SIGTERM,)))
