"""Scopes come from URL parameters; answers are kept until the data changes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from taximeter_collector.client import QueryError
from taximeter_dashboard.asking_once import AskingOnce
from taximeter_dashboard.reading import Reader, SettledReader
from taximeter_dashboard.scope import RANGES, link, scope_of

NOW = datetime(2026, 11, 24, 11, 42, 17, tzinfo=UTC)


@pytest.mark.parametrize("name", RANGES)
def test_a_live_window_holds_this_moment_and_has_its_length(name: str) -> None:
    scope = scope_of(NOW, name)
    assert scope.start < NOW < scope.end
    assert scope.end - scope.start == RANGES[name][0]
    assert scope.is_live


@pytest.mark.parametrize("name", RANGES)
def test_the_previous_window_has_as_many_buckets(name: str) -> None:
    scope = scope_of(NOW, name)
    assert len(scope.previous.buckets) == len(scope.buckets)
    assert scope.previous.end == scope.start


def test_two_sessions_of_the_same_minute_ask_the_same() -> None:
    assert scope_of(NOW, "24h") == scope_of(NOW + timedelta(seconds=20), "24h")


def test_an_absolute_window_wins_over_the_range() -> None:
    scope = scope_of(NOW, "7d", "2026-11-24T10:00", "2026-11-24T11:00+00:00")
    assert (scope.start.hour, scope.end.hour, scope.is_live) == (10, 11, False)


@pytest.mark.parametrize("start, end", [("soon", "later"), ("2026-11-24", ""), (None, None)])
def test_an_unreadable_window_means_the_default(start: str | None, end: str | None) -> None:
    assert scope_of(NOW, "nonsense", start, end) == scope_of(NOW, "24h")


def test_filters_name_columns() -> None:
    scope = scope_of(NOW, filters={"agent": ["b", "a"], "env": []})
    assert scope.where == {"agent_name": ["a", "b"]}


def test_a_link_keeps_the_scope() -> None:
    shared = {"range": "7d", "agent": ["a", "b&c"], "env": []}
    assert link("request", shared, id="x y") == "/request?range=7d&agent=a&agent=b%26c&id=x+y"


class FakeCollector:
    """Answers every query with one row and counts them."""

    def __init__(self) -> None:
        self.asked, self.version, self.is_down = 0, 1, False
        self.on_query: Callable[[], object] = lambda: None

    def query(self, sql: str, params: Any = None, *, max_rows: int = 10) -> pa.Table:
        if self.is_down:
            raise QueryError("unreachable", "No collector answers.")
        self.asked += 1
        self.on_query()
        return pa.table({"n": [self.asked]})

    def status(self) -> dict[str, Any]:
        if self.is_down:
            raise QueryError("unreachable", "No collector answers.")
        return {"data_version": self.version}


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def collector() -> FakeCollector:
    return FakeCollector()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reader(collector: FakeCollector, clock: Clock) -> Reader:
    return Reader(lambda: collector, clock)


def test_the_same_question_is_asked_once(reader: Reader, collector: FakeCollector) -> None:
    assert reader.rows("select 1", {"a": [NOW]}) == reader.rows("select 1", {"a": [NOW]})
    reader.rows("select 1", {"a": [NOW + timedelta(1)]})
    assert collector.asked == 2


def test_new_data_makes_a_question_new(
    reader: Reader, collector: FakeCollector, clock: Clock
) -> None:
    reader.rows("select 1")
    collector.version += 1
    clock.now += 1
    reader.rows("select 1")
    assert collector.asked == 2


def test_the_slower_the_answers_the_longer_a_version_of_the_data_is_held(
    reader: Reader, collector: FakeCollector, clock: Clock
) -> None:
    collector.on_query = lambda: setattr(clock, "now", clock.now + 10)
    reader.rows("select 1")
    collector.version += 1
    clock.now += 5
    assert reader.data_version() == 1
    clock.now += 30
    assert reader.data_version() == 2


def test_who_asks_while_another_asks_the_same_gets_that_answer(collector: FakeCollector) -> None:
    reader = Reader(lambda: collector)
    is_asked, may_answer = threading.Event(), threading.Event()

    def answer_late() -> None:
        is_asked.set()
        assert may_answer.wait(10)

    collector.on_query = answer_late
    with ThreadPoolExecutor() as threads:
        first = threads.submit(reader.rows, "select 1")
        assert is_asked.wait(10)
        others = [threads.submit(reader.rows, "select 1") for _ in range(3)]
        assert not wait(others, 0.1).done
        may_answer.set()
        assert [other.result() for other in others] == [first.result()] * 3
    assert collector.asked == 1


def test_an_error_is_told_and_not_kept(collector: FakeCollector) -> None:
    once = AskingOnce[str, int]()
    collector.is_down = True
    with pytest.raises(QueryError):
        once.answer("a", lambda: len(Reader(lambda: collector).rows("select 1")))
    assert once.answer("a", lambda: 2) == 2


def test_what_is_settled_is_not_asked_again_for_new_data_but_after_a_minute(
    reader: Reader, collector: FakeCollector, clock: Clock
) -> None:
    settled = SettledReader(reader)
    settled.rows("select 1")
    collector.version += 1
    clock.now += 1
    settled.rows("select 1")
    assert collector.asked == 1
    clock.now += 60
    settled.rows("select 1")
    assert collector.asked == 2


def test_an_answer_grows_old(reader: Reader, collector: FakeCollector, clock: Clock) -> None:
    reader.rows("select 1")
    clock.now += 120
    reader.rows("select 1")
    assert collector.asked == 2


def test_a_collector_that_comes_back_is_found_again(
    reader: Reader, collector: FakeCollector, clock: Clock
) -> None:
    collector.is_down = True
    with pytest.raises(QueryError):
        reader.rows("select 1")
    collector.is_down = False
    assert reader.rows("select 1") == [{"n": 1}]
