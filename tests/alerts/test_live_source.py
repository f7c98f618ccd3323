"""What nothing can have changed is not asked again, and every answer is the one that asking would give."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.alerts.conftest import Clock, MemoryStore
from tests.alerts.test_alert_timelines import OPS, Process

from taximeter_alerts.judge.live_source import LiveSource
from taximeter_alerts.judge.windows import Shape, read_history, read_samples

RULES = """\
rules:
  - {name: dear, watch: cost_per_request_usd, by: agent_name, when: above $1, over: 5m, no_data: ok}
  - {name: nothing, watch: requests, by: agent_name, when: silent 15m}
"""


@pytest.fixture
def process(tmp_path: Path, store: MemoryStore, clock: Clock) -> Iterator[Process]:
    process = Process(tmp_path, store, clock)
    process.restart(OPS + RULES)
    process.tick()
    yield process
    process.log.close()


def test_an_empty_system_is_asked_for_its_version_alone(
    process: Process, store: MemoryStore
) -> None:
    process.run(2)
    before = store.asked
    for _ in range(5):
        process.clock.forward(seconds=15)
        process.tick()
    assert store.asked == before
    process.run(20)
    # Answers are kept for ten minutes, whatever the version says.
    assert store.asked - before <= 10


def test_an_idle_system_still_fires_for_silence_and_resolves_what_fired(
    process: Process, store: MemoryStore
) -> None:
    process.run(6, requests=6, cost_usd=3.0)
    assert (process.status("dear"), process.status("nothing")) == ("firing", "inactive")
    before = store.asked
    process.run(30)
    assert process.status("nothing") == "firing"
    assert [row["reason"] for row in process.incidents()] == ["back to usual", None]
    assert store.asked - before < 30, "fewer questions than minutes"


def test_every_answer_of_a_sleeping_system_is_what_asking_again_would_give(
    store: MemoryStore, clock: Clock
) -> None:
    at = clock.now.replace(second=0)
    store.add_minutes("a", at - timedelta(hours=26), 300, every=70, requests=3)
    store.add_minutes("b", at - timedelta(minutes=50), 50, every=17, failed=1)
    store.add_minutes("a", at + timedelta(minutes=30), 1, requests=5)  # a clock that is ahead
    source = LiveSource(store, clock, lambda _: False)
    shape, metrics, saved = Shape(("agent_name",), ()), ["error_rate"], 0
    for minutes in (1, 1, 2, 5, 9, 13, 1, 30) * 4 + (240,) * 6:
        clock.forward(minutes=minutes)
        at += timedelta(minutes=minutes)
        source.look()
        before = store.asked
        found = source.samples(shape, metrics, at)
        saved += store.asked == before
        assert found == read_samples(store, shape, metrics, at), at
    assert saved >= 10


def test_what_comes_late_is_seen_at_the_next_look(store: MemoryStore, clock: Clock) -> None:
    at = clock.now.replace(second=0)
    source = LiveSource(store, clock, lambda _: False)
    shape, metrics = Shape(("agent_name",), ()), ["error_rate"]
    source.look()
    assert source.samples(shape, metrics, at) == {}
    store.add_minutes("late", at - timedelta(minutes=9), 3)
    source.look()
    assert len(source.samples(shape, metrics, at)) == 1


def test_a_past_that_takes_long_to_read_is_not_read_all_the_time(
    store: MemoryStore, clock: Clock
) -> None:
    """Among thousands of groups one is always learning."""
    at = clock.now.replace(second=0)
    store.add_minutes("a", at - timedelta(hours=9), 300)
    shape, metrics = Shape(("agent_name",), ()), ["error_rate"]

    def reads(took_s: float) -> int:
        class Slow(MemoryStore):
            def query(self, *args: Any, **more: Any) -> Any:
                clock.forward(seconds=took_s / 2)
                return store.query(*args, **more)

        slow, asked = Slow(), store.asked
        source = LiveSource(slow, clock, lambda _: True)
        for _ in range(20):
            slow.version += 1
            source.look()
            source.history(shape, metrics, at)
            clock.forward(seconds=15)
        return (store.asked - asked) // 2

    assert reads(took_s=0.1) == 20
    assert reads(took_s=6) == 3


def test_what_history_is_made_of_is_counted_for_models_too(
    store: MemoryStore, clock: Clock
) -> None:
    """It grows when data comes late, whatever the rules are grouped by."""
    end = clock.now.replace(minute=0, second=0)
    row = {"minute": end - timedelta(hours=3), "provider": "p", "model": "m", "calls": 400}
    store.add_rows("usage_minute", [row | {"failed_calls": 40, "unseen_attempts": 0}])
    found = read_history(store, Shape(("provider", "model"), ()), ["call_error_rate"], end)
    assert found.size == 400
    (key,) = found.places
    known = found.of(key, "call_error_rate")
    assert (known.rate, known.rate_days, known.days) == (0.1, 1, 1)
