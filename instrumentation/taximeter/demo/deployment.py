"""One deployment of a service in a process of its own: the shim started as a host would start it.

In: a job or a line of the fleet, the collector's address, the fake API's. Out: what was done.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from types import FrameType
from typing import Final

import taximeter
from taximeter.demo import clock
from taximeter.demo.patient_exporter import PatientExporter
from taximeter.demo.performer import Performed, Performer
from taximeter.demo.plans.history import History, Job, Line
from taximeter.demo.plans.plan import Plan

WARM_SHARE: Final = 0.8
"""How often a live request finds its prompt in the cache."""
LAST_REQUESTS_S: Final = 120.0
"""How long a new deployment waits for the requests of the old one."""

STOP_TICK_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a deployment finds the collector and the model API."""

    collector: str
    model_api: str


@dataclass(slots=True)
class Report:
    """What a deployment has done so far."""

    requests: int = 0
    errors: int = 0
    spans: int = 0
    lost_spans: int = 0
    cost_usd: float = 0.0

    def add(self, performed: Performed) -> None:
        """Count one request."""
        self.requests += 1
        self.errors += performed.is_error
        self.cost_usd += performed.cost_usd

    def merge(self, other: Report) -> None:
        """Count another deployment's work too."""
        self.requests += other.requests
        self.errors += other.errors
        self.spans += other.spans
        self.lost_spans += other.lost_spans
        self.cost_usd += other.cost_usd


def back_fill(
    send: Callable[[Report], None], history: History, job: Job, addresses: Addresses
) -> None:
    """Live through a job's requests in simulated time; send the report when all of it is stored."""
    report = Report()
    stop = Stop()
    with (
        deployed(job.line, job.version, addresses, report, is_simulated=True),
        Performer(addresses.model_api, is_simulated=True) as performer,
    ):
        for plan in history.plans(job):
            report.add(performer.perform(plan))
            if stop.is_asked:
                break
    send(report)


def live(
    send: Callable[[Report], None],
    history: History,
    line: Line,
    gap: LiveGap,
    addresses: Addresses,
) -> None:
    """Send requests in real time, each in a thread of its own, until stopped or re-deployed."""
    report = Report()
    stop = Stop()
    rng = Random(f"{history.seed}/live/{line.service}")
    version = history.version(line, datetime.now(UTC))
    threads: list[threading.Thread] = []

    def perform(plan: Plan) -> None:
        with Performer(addresses.model_api, is_simulated=False) as performer:
            report.add(performer.perform(plan))

    with deployed(line, version, addresses, report, is_simulated=False):
        while not stop.wait(rng.expovariate(1 / gap.seconds(clock.now_ns()))):
            now = datetime.now(UTC)
            if history.version(line, now) != version:
                break
            plan = history.plan(line, rng, now, is_warm=rng.random() < WARM_SHARE)
            thread = threading.Thread(target=perform, args=(plan,), daemon=True)
            thread.start()
            threads = [other for other in threads if other.is_alive()] + [thread]
        for thread in threads:
            thread.join(0 if stop.is_asked else LAST_REQUESTS_S)
    send(report)


@dataclass(frozen=True, slots=True)
class LiveGap:
    """Seconds between a line's live requests: short at first, so that something is seen to move."""

    started_ns: int
    first_s: float
    settled_s: float
    settling_s: float = 180.0

    def seconds(self, now_ns: int) -> float:
        """Return the mean gap at this time.

        >>> LiveGap(0, 2.0, 30.0).seconds(90 * 10**9)
        16.0
        """
        share = min(1.0, max(0.0, (now_ns - self.started_ns) / 1e9 / self.settling_s))
        return self.first_s + (self.settled_s - self.first_s) * share


@contextmanager
def deployed(
    line: Line, version: str, addresses: Addresses, report: Report, *, is_simulated: bool
) -> Iterator[None]:
    """Start the shim for this deployment, and stop it when all its spans are out."""
    os.environ["OTEL_RESOURCE_ATTRIBUTES"] = f"service.version={version}"
    exporter = PatientExporter(addresses.collector) if is_simulated else None
    taximeter.init(
        line.service,
        environment=line.environment,
        endpoint=addresses.collector,
        span_exporter=exporter,
        clock=clock.now_ns if is_simulated else None,
    )
    try:
        yield
    finally:
        if exporter is not None:
            exporter.send_all()
            report.spans, report.lost_spans = exporter.sent, exporter.lost
        else:
            taximeter.flush()
            report.lost_spans = taximeter.lost_spans()
        taximeter.shutdown()


class Stop:
    """Whether SIGTERM has come. Not an Event: its lock may be held where the signal strikes."""

    def __init__(self) -> None:
        self.is_asked = False
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)

    def wait(self, seconds: float) -> bool:
        """Wait so long, or less when asked to stop; return whether to stop."""
        deadline = time.monotonic() + seconds
        while not self.is_asked and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, STOP_TICK_S))
        return self.is_asked

    def _ask(self, _number: int, _frame: FrameType | None) -> None:
        self.is_asked = True
