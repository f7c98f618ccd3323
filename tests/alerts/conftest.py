"""A store in memory with the real tables and the real metric queries, and a clock to turn."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.alerts.timeline import Timeline


class Clock:
    """A clock that stands until it is turned."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


class MemoryStore:
    """Answers queries as the collector does; rows are put in by hand."""

    def __init__(self) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("set timezone = 'UTC'")
        tables = files("taximeter_collector") / "sql" / "tables"
        for name in ("usage_minute", "request", "call", "tool_call", "agent_run"):
            self._connection.execute((tables / f"{name}.sql").read_text(encoding="utf-8"))
        self._connection.execute("create view requests as select * from request")
        self._connection.execute("create view calls as select * from call")
        self._connection.execute("create view agent_runs as select * from agent_run")
        self._connection.execute("create view tool_calls as select * from tool_call")
        self.error: Exception | None = None
        self.version = 0
        self.asked = 0
        """How many queries were answered."""

    def status(self) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        return {"data_version": self.version}

    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any:
        if self.error is not None:
            raise self.error
        self.asked += 1
        return self._connection.sql(sql, params=params or {}).to_arrow_table()

    def add_minutes(
        self,
        agent: str,
        start: datetime,
        minutes: int,
        *,
        requests: int = 2,
        cost_usd: float = 0.05,
        failed: int = 0,
        loop: int = 5,
        every: int = 1,
    ) -> None:
        """Put equal minutes of one agent in; every so many minutes has traffic."""
        self.version += 1
        self._connection.execute(
            "insert into usage_minute (minute, environment, service_name, agent_name, requests,"
            " failed_requests, request_cost_pico, unpriced_requests, loop_length_sum,"
            " loop_length_max, calls, failed_calls, logical_calls, retried_calls)"
            " select $start + to_minutes(i::integer), 'prod', 'svc', $agent, $requests, $failed,"
            " ($requests * $cost * 1e12)::hugeint, 0, $requests * $loop, $loop, 0, 0, 0, 0"
            " from range(0, $minutes, $every) t(i)",
            {
                "start": start,
                "agent": agent,
                "requests": requests,
                "failed": failed,
                "cost": cost_usd,
                "loop": loop,
                "minutes": minutes,
                "every": every,
            },
        )

    def add_rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Put rows in by their columns' names; other columns are NULL."""
        self.version += 1
        for row in rows:
            names, marks = ", ".join(row), ", ".join(f"${name}" for name in row)
            self._connection.execute(f"insert into {table} ({names}) values ({marks})", row)

    def run(self, sql: str, params: Any = None) -> None:
        """Change what is stored by a statement."""
        self.version += 1
        self._connection.execute(sql, params or {})

    def add_copies(self, table: str, row: dict[str, Any], number: int) -> None:
        """Put so many equal rows in."""
        self.version += 1
        names, marks = ", ".join(row), ", ".join(f"${name}" for name in row)
        self._connection.execute(
            f"insert into {table} ({names}) select {marks} from range($number)",
            {**row, "number": number},
        )


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 20, 14, 0, 30, tzinfo=UTC))


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    yield MemoryStore()


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path)
    yield timeline
    timeline.close()
