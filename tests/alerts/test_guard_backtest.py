"""What limits would have done to past runs, from the runs themselves."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts.backtest.guard_backtest import guards_text, read_guards


def run(
    at: datetime, loop: int, usd: float, reason: str = "completed", **more: Any
) -> dict[str, Any]:
    row = {
        "trace_id": f"{at}{loop}{usd}", "span_id": "s", "agent_name": "support", "start_time": at,
        "loop_length": loop, "cost_pico": int(usd * 1e12), "duration_ms": loop * 1_000.0,
        "termination_reason": reason,
    }  # fmt: skip
    return row | more


@pytest.fixture
def end(store: MemoryStore, clock: Clock) -> datetime:
    """A hundred runs of 1 to 10 steps at a cent a step, and two that ran away."""
    end = clock.now
    rows = [run(end - timedelta(hours=n), 1 + n % 10, (1 + n % 10) * 0.01) for n in range(1, 101)]
    rows += [
        run(end - timedelta(hours=3), 50, 0.5, "error"),
        run(end - timedelta(hours=4), 100, 2.0, "cancelled"),
        run(end - timedelta(days=30), 400, 9.0, "error"),
        run(end - timedelta(hours=5), 900, 9.0, "error", agent_name="rare"),
    ]
    store.add_rows("agent_run", rows)
    return end


def test_a_limit_that_completed_runs_keep_stops_the_others(
    store: MemoryStore, end: datetime
) -> None:
    found = {g.limit_name: g for g in read_guards(store, end - timedelta(days=7), end)}
    assert {g.agent_name for g in found.values()} == {"support"}, "one run shows no limit"
    iterations, cost = found["iterations"], found["cost_usd"]
    assert (iterations.written, iterations.runs, iterations.completed) == (
        "iterations=10",
        102,
        100,
    )
    assert (iterations.stopped, iterations.stopped_completed) == (2, 0)
    # Four fifths of half a dollar, nine tenths of two.
    assert iterations.saved_usd == pytest.approx(0.4 + 1.8)
    assert cost.limit_value == pytest.approx(0.1)
    assert cost.saved_usd == pytest.approx(0.4 + 1.9)
    assert found["deadline_s"].limit_value == 10
    assert iterations.spent_usd == pytest.approx(0.055 * 100 + 2.5)


def test_a_completed_run_that_would_have_been_stopped_is_counted(
    store: MemoryStore, end: datetime
) -> None:
    store.add_copies("agent_run", run(end - timedelta(minutes=7), 5, 0.05), 2_000)
    store.add_rows("agent_run", [run(end - timedelta(hours=1), 33, 0.3)])
    found = {g.limit_name: g for g in read_guards(store, end - timedelta(days=7), end)}
    assert found["iterations"].stopped_completed == 1
    text = guards_text(list(found.values()))
    assert text[0].split() == ["limits", "(guards)", "stopped", "of", "runs", "completed", "saved"]
    assert ["support", "iterations=10", "3", "2,103", "1", "$2.41"] in [t.split() for t in text]


def test_without_runs_there_is_nothing_to_say(store: MemoryStore, clock: Clock) -> None:
    assert read_guards(store, clock.now - timedelta(days=7), clock.now) == []
    assert guards_text([]) == []
