"""The whole history as jobs: one deployment (service, environment, version) for some time each.

Pure: the same office, seed and days give the same plans, whichever job is run first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Final

from taximeter.demo.incidents import Incident, conditions_at
from taximeter.demo.plans.coding import plan_code_task
from taximeter.demo.plans.nightly import plan_digest
from taximeter.demo.plans.plan import Plan
from taximeter.demo.plans.research import plan_research
from taximeter.demo.plans.support import plan_ticket
from taximeter.demo.rhythm import Office, arrivals
from taximeter.demo.world import TENANTS, Service

DAY: Final = timedelta(days=1)
LONGEST_JOB: Final = 4 * DAY
DIGEST_HOUR: Final = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One service in one environment, and its requests in the busiest hour of today."""

    service: Service
    environment: str
    per_hour: float
    cache_life: timedelta


LINES: Final = (
    Line("deep-research", "production", 14, timedelta(hours=1)),
    Line("support-desk", "production", 18, timedelta(minutes=5)),
    Line("code-assistant", "production", 5, timedelta(minutes=10)),
    Line("code-assistant", "staging", 0.8, timedelta(minutes=10)),
    Line("nightly-digest", "production", 0, timedelta(0)),
)


@dataclass(frozen=True, slots=True)
class Job:
    """A deployment's requests in [start, end): up to a few days."""

    line: Line
    version: str
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class History:
    """Everything that decides a history."""

    office: Office
    incidents: Sequence[Incident]
    days: float
    seed: int

    def jobs(self) -> list[Job]:
        """Return the jobs, newest first; together they cover every moment of every line once."""
        found: list[Job] = []
        end, length = self.office.now, DAY
        beginning = end - self.days * DAY
        while end > beginning:
            start = max(beginning, end - length)
            for line in LINES:
                found += self._split(line, start, end)
            # Bigger pieces make fewer exports, and of the newest day a page is wanted first.
            end, length = start, min(2 * length, LONGEST_JOB)
        return found

    def plans(self, job: Job) -> list[Plan]:
        """Return a job's requests in the order of their start."""
        line = job.line
        age_s = round((self.office.now - job.start).total_seconds())
        rng = Random(f"{self.seed}/{line.service}/{line.environment}/{age_s}")
        if line.service == "nightly-digest":
            return list(self._digests(rng, job))

        def per_hour(at: datetime) -> float:
            traffic = conditions_at(line.service, at, self.incidents).traffic
            return line.per_hour * traffic * self.office.load(at)

        step = timedelta(minutes=5)
        last = job.start - DAY
        plans: list[Plan] = []
        for at in arrivals(rng, job.start, job.end, per_hour, step=step):
            is_warm = at - last < line.cache_life
            plans.append(self.plan(line, rng, at, is_warm=is_warm))
            last = at
        return plans

    def plan(self, line: Line, rng: Random, at: datetime, *, is_warm: bool) -> Plan:
        """Return one request of a line, as the conditions of its moment make it."""
        conditions = conditions_at(line.service, at, self.incidents)
        if line.service == "support-desk":
            return plan_ticket(rng, at, conditions, is_warm=is_warm)
        if line.service == "deep-research":
            return plan_research(rng, at, conditions, is_warm=is_warm)
        return plan_code_task(rng, at, conditions, line.environment, is_warm=is_warm)

    def version(self, line: Line, at: datetime) -> str:
        """Return the version of a line that is deployed at this time."""
        return conditions_at(line.service, at, self.incidents).version

    def _split(self, line: Line, start: datetime, end: datetime) -> Iterator[Job]:
        """Yield the jobs of one line between two times, cut where a version is deployed."""
        cuts = sorted(
            {
                edge
                for incident in self.incidents
                for edge in (incident.start, incident.end)
                if start < edge < end
            }
        )
        edges = [start, *cuts, end]
        pieces = list(pairwise(edges))
        versions = [self.version(line, at) for at, _ in pieces]
        first = 0
        jobs: list[Job] = []
        for place in range(1, len(pieces) + 1):
            if place == len(pieces) or versions[place] != versions[first]:
                jobs.append(Job(line, versions[first], pieces[first][0], pieces[place - 1][1]))
                first = place
        yield from reversed(jobs)

    def _digests(self, rng: Random, job: Job) -> Iterator[Plan]:
        """Yield one digest for each customer in each office night that falls into the job."""
        local = self.office.local(job.start).replace(hour=DIGEST_HOUR, minute=10, second=0)
        at = local - self.office.offset
        while at < job.start:
            at += DAY
        while at < job.end:
            due = at
            for tenant in TENANTS:
                due += timedelta(seconds=rng.uniform(20, 200))
                if due < job.end:
                    conditions = conditions_at("nightly-digest", due, self.incidents)
                    yield plan_digest(rng, due, conditions, tenant)
            at += DAY
