"""Which query is stopped for memory, and when: a process's memory and clock that the test sets."""

from __future__ import annotations

import threading
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from taximeter_collector.query.query_watch import (
    ENDING_S,
    RELEASE_S,
    ROOM_BESIDE_BYTES,
    QueryWatch,
    RunningQuery,
    store_room,
)
from taximeter_collector.store.store import Store

ROOM = 100


@dataclass
class World:
    held: int = 1000
    waiting: int = 0
    now: float = 0.0


class Process:
    """A watch whose process and clock are set by hand, and queries that end when they are told."""

    def __init__(self) -> None:
        self.world = World()
        self.watch = QueryWatch(lambda: self.world.held, lambda: self.world.now)
        self._open: dict[int, ExitStack] = {}

    def begin(self) -> RunningQuery:
        stack = ExitStack()
        con = stack.enter_context(closing(duckdb.connect(":memory:")))
        watching = self.watch.watching(
            con, 1e9, threading.Event(), lambda: self.world.waiting, room_bytes=ROOM
        )
        query = stack.enter_context(watching)
        self._open[id(query)] = stack
        return query

    def end(self, query: RunningQuery) -> None:
        self._open.pop(id(query)).close()

    def is_stopped(self, *queries: RunningQuery) -> list[str | None]:
        self.watch.look()
        return [query.stopped for query in queries]


@pytest.fixture
def process() -> Process:
    return Process()


def test_only_the_latest_is_stopped_and_its_end_is_awaited(process: Process) -> None:
    first, second, third = process.begin(), process.begin(), process.begin()
    assert process.is_stopped(first, second, third) == [None, None, None]
    process.world.held += ROOM + 1
    assert process.is_stopped(first, second, third) == [None, None, "memory"]
    assert process.is_stopped(first, second) == [None, None]
    process.end(third)
    assert process.is_stopped(first, second) == [None, None], "its memory is still on its way back"
    process.world.held -= ROOM
    process.world.now += RELEASE_S
    assert process.is_stopped(first, second) == [None, None]


def test_the_next_is_stopped_when_that_was_not_enough(process: Process) -> None:
    first, second = process.begin(), process.begin()
    process.world.held += ROOM + 1
    assert process.is_stopped(first, second) == [None, "memory"]
    process.end(second)
    process.world.now += RELEASE_S
    assert process.is_stopped(first) == ["memory"]


def test_a_query_that_does_not_end_shields_no_other(process: Process) -> None:
    first, second = process.begin(), process.begin()
    process.world.held += ROOM + 1
    assert process.is_stopped(first, second) == [None, "memory"]
    process.world.now += ENDING_S
    assert process.is_stopped(first, second) == ["memory", "memory"]


def test_what_waits_to_be_written_is_not_the_queries(process: Process) -> None:
    query = process.begin()
    process.world.held += 5 * ROOM
    process.world.waiting += 5 * ROOM
    assert process.is_stopped(query) == [None]
    process.world.waiting -= 5 * ROOM
    assert process.is_stopped(query) == ["memory"]


def test_growth_while_readers_come_and_go_counts_for_none(process: Process) -> None:
    """The process grows by half the room during each query, and there is always one."""
    query = process.begin()
    for _ in range(10):
        process.world.held += ROOM // 2
        following = process.begin()
        assert process.is_stopped(query, following) == [None, None]
        process.end(query)
        query = following


def test_memory_that_came_back_is_room_no_more(process: Process) -> None:
    """A query that began while another held much may not grow from there."""
    first = process.begin()
    process.world.held += ROOM - 1
    second = process.begin()
    process.end(first)
    process.world.held -= ROOM - 1
    assert process.is_stopped(second) == [None]
    process.world.held += ROOM + 1
    assert process.is_stopped(second) == ["memory"]


@pytest.mark.parametrize(("memory", "size"), [("512MB", 512_000_000), ("4GB", 4_000_000_000)])
def test_the_room_is_the_stores_memory_and_some_beside_it(
    tmp_path: Path, memory: str, size: int
) -> None:
    with closing(Store(tmp_path, memory=memory)) as store, store.cursor() as cursor:
        assert store_room(cursor) == pytest.approx(ROOM_BESIDE_BYTES + size, rel=1e-2)


def test_stopping_all_stops_each(process: Process) -> None:
    queries = process.begin(), process.begin()
    process.watch.stop_all()
    assert process.is_stopped(*queries) == ["stopping", "stopping"]
