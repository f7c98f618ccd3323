"""Every scenario of the demo fleet, through the real SDKs: what the shim counted is what a store shows.

Seconds long: the agents are real, and so are their calls of the fake API.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from tests.instrumentation.ledger import counted, shown, stored_runs
from tests.telemetry import rows

import taximeter
from taximeter.demo import clock
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.incidents import Conditions
from taximeter.demo.performer import Performer
from taximeter.demo.plans.coding import plan_code_task
from taximeter.demo.plans.nightly import plan_digest
from taximeter.demo.plans.plan import Plan
from taximeter.demo.plans.research import plan_research
from taximeter.demo.plans.support import plan_ticket
from taximeter.demo.world import GPT_DEAR
from taximeter.guard import faults
from taximeter.runs.current import AgentRun, current_agent
from taximeter.testing import SpanList
from taximeter_collector.store.store import Store

REASONS = {"completed", "error", "iteration_cap"}
PLANS = 3
"""Of each service in each of its conditions."""
AT = datetime.now(UTC) - timedelta(hours=2)
USUAL, DOWN = Conditions("1.0"), Conditions("1.0", is_model_down=True)
THROTTLED, LOOPING = Conditions("1.0", is_throttled=True), Conditions("1.0", is_looping=True)
DEAR, CACHE_BROKEN = Conditions("1.0", reviewer_model=GPT_DEAR), Conditions("1.0", is_cache_broken=True)  # fmt: skip


def plans() -> Iterator[Plan]:
    """Yield what is asked of each service, as usual and in each incident that it meets."""
    rng = Random(11)
    for number in range(PLANS):
        at, is_warm = AT + timedelta(minutes=number), number > 0
        for conditions in (USUAL, CACHE_BROKEN, DOWN, THROTTLED):
            yield plan_ticket(rng, at, conditions, is_warm=is_warm)
        for conditions in (USUAL, LOOPING, DEAR, DOWN, THROTTLED):
            yield plan_code_task(rng, at, conditions, "production", is_warm=is_warm)
        for conditions in (USUAL, LOOPING, DOWN, THROTTLED):
            yield plan_research(rng, at, conditions, is_warm=is_warm)
        for conditions in (USUAL, DOWN):
            yield plan_digest(rng, at, conditions, "acme")


@dataclass(slots=True)
class Watch(SpanList):
    """Keeps spans, and which run each of them ended in."""

    runs: dict[str, AgentRun] = field(default_factory=dict)
    """By the id of the run's span."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        run = current_agent.get()
        for span in spans:
            if run is not None and span.parent is not None:
                self.runs.setdefault(f"{span.parent.span_id:016x}", run)
        return SpanList.export(self, spans)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setattr(faults, "reraise", True)
    taximeter.shutdown()
    watch = Watch()
    taximeter.init(service="fleet", span_exporter=watch, clock=clock.now_ns)
    yield watch
    taximeter.shutdown()


def test_guard_is_the_ledger_of_the_fleet(watch: Watch, api: FakeApi, store: Store) -> None:
    asked = list(plans())
    with Performer(api.anthropic_url, is_simulated=True) as performer:
        performed = [performer.perform(plan) for plan in asked]
    ledger = stored_runs(watch.spans, store)
    said = {
        f"{span.context.span_id:016x}": (span.attributes or {}).get("taximeter.termination_reason")
        for span in watch.spans
        if span.context is not None
    }
    assert {said[span_id] for span_id in ledger} == REASONS
    for span_id, row in ledger.items():
        run = watch.runs[span_id]
        below = [other for id_, other in ledger.items() if run in watch.runs[id_].levels]
        assert counted(run.used()) == shown(row, below), (run.name, span_id)
        assert said[span_id] == row["termination_reason"], (run.name, span_id)
    requests = dict(rows(store, "select request_id, coalesce(cost_pico, 0) from requests"))
    roots = [span.context for span in watch.spans if span.parent is None]
    assert len(roots) == len(performed) == len(requests)
    for context, one in zip(roots, performed, strict=True):
        assert context is not None
        assert requests[f"{context.trace_id:032x}"] == round(one.cost_usd * 1e12)
