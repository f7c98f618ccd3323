"""What a replay holds in memory is what the collector answers at that moment."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts.backtest.minutes import read_minutes
from taximeter_alerts.backtest.replay import Replay
from taximeter_alerts.judge.detect import Reference
from taximeter_alerts.judge.judging import metrics_of
from taximeter_alerts.judge.windows import Shape, read_history, read_samples, shapes_of
from taximeter_alerts.rules.book import Condition, Rule
from taximeter_alerts.rules.defaults import default_rules
from taximeter_collector.client import QueryError

SLOW = Rule("slow", "latency_p95_seconds", Condition("spike", 2.0), by=("agent_name",))


def facts_of(reference: Reference) -> dict[str, Any]:
    """Return what was learned, each number by its name."""
    facts = asdict(reference)
    usuals, hours = facts.pop("usuals"), facts.pop("hours")
    for size, usual in usuals.items():
        facts |= {f"{name} of {size}": fact for name, fact in (usual or {}).items()}
    return facts | {str(hour): count for hour, count in hours.items()}


class SmallAnswers:
    """Refuses an answer of more rows than it may have, as the collector does one of more bytes."""

    def __init__(self, store: MemoryStore, most_rows: int) -> None:
        self._store, self._most_rows = store, most_rows
        self.sizes: list[int] = []

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any:
        table = self._store.query(sql, params)
        self.sizes.append(len(table))
        if len(table) > self._most_rows:
            raise QueryError("too_large", "The answer is too large: ask for fewer columns.", 413)
        return table


def test_the_past_of_very_many_agents_is_read_in_smaller_answers(
    store: MemoryStore, clock: Clock
) -> None:
    end = clock.now.replace(second=0)
    start = end - timedelta(days=3)
    for agent in "abc":
        store.add_minutes(agent, start, 3 * 1440, requests=3, every=2)
    (shape, metrics) = Shape(("agent_name",), ()), ["cost_per_request_usd", "error_rate"]
    whole = read_minutes(store, shape, metrics, start, end)
    small = SmallAnswers(store, 500)
    pieces = read_minutes(small, shape, metrics, start, end)
    assert len(small.sizes) > 15 and sum(size for size in small.sizes if size <= 500) == 6_480
    for metric in metrics:
        every = [m.past(metric, 3_600, start, end) for m in (whole, pieces)]
        assert every[0].value.tolist() == pytest.approx(every[1].value.tolist())
        assert every[0].count.tolist() == every[1].count.tolist()


def test_an_answer_that_can_be_no_smaller_is_an_error(store: MemoryStore, clock: Clock) -> None:
    end = clock.now.replace(second=0)
    store.add_minutes("a", end - timedelta(days=1), 1440)
    shape, start = Shape(("agent_name",), ()), end - timedelta(days=2)
    with pytest.raises(QueryError, match="too large"):
        read_minutes(SmallAnswers(store, 10), shape, ["error_rate"], start, end)


@pytest.mark.parametrize("minutes", [0, 1, 7, 60, 300])
def test_windows_and_history_are_those_of_the_live_queries(
    store: MemoryStore, clock: Clock, minutes: int
) -> None:
    end = clock.now.replace(second=0)
    start = end - timedelta(days=3)
    store.add_minutes("a", start - timedelta(days=2), 4 * 1440, requests=3, failed=1, every=3)
    store.add_minutes("b", start, 2 * 1440, requests=1, cost_usd=0.2, loop=9, every=7)
    store.add_minutes("a", end - timedelta(hours=4), 90, requests=8, cost_usd=0.9)
    at = end - timedelta(minutes=minutes)
    replay, learned = Replay(store, start, end), 0
    for shape, rules in shapes_of((*default_rules(), SLOW)).items():
        metrics = metrics_of(rules)
        live, found = read_samples(store, shape, metrics, at), replay.samples(shape, metrics, at)
        assert found.keys() == live.keys()
        for key, group in live.items():
            for metric in metrics:
                for window_s, sample in group.samples[metric].items():
                    if sample.value is None:
                        continue
                    other = found[key].samples[metric][window_s]
                    assert other.value == pytest.approx(sample.value), (metric, window_s)
                    assert (other.count, other.failures) == (sample.count, sample.failures)
                    assert other.cost_per_request == pytest.approx(sample.cost_per_request)
        past = read_history(store, shape, metrics, at.replace(minute=0))
        replayed = replay.history(shape, metrics, at)
        for key in past.places:
            for metric in metrics:
                reference, other_past = past.of(key, metric), replayed.of(key, metric)
                # Running sums round otherwise than sums do.
                assert facts_of(other_past) == pytest.approx(facts_of(reference)), (key, metric)
                learned += bool(reference.days)
    assert learned >= 6
