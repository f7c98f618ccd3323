"""Explore's pure parts: what an answer becomes on screen, in a chart and in a file; what errors say."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from streamlit.testing.v1 import AppTest

import taximeter_dashboard
from taximeter_collector.client import QueryError
from taximeter_collector.query.query_gate import VIEWS as PUBLISHED
from taximeter_dashboard import queries, results
from taximeter_dashboard.reading import Reader
from taximeter_dashboard.statements import EXAMPLES, pointed_at, with_column

from .test_queries import Database, database

__all__ = ["database"]  # fixture

APP = Path(taximeter_dashboard.__file__).parent / "app.py"
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1")
DAY = datetime(2026, 11, 24, tzinfo=UTC)


def test_the_views_offered_are_those_that_may_be_read() -> None:
    assert set(queries.VIEWS) == PUBLISHED


def test_a_spreadsheet_runs_nothing_of_an_export() -> None:
    table = pa.table({"=cmd": [*FORMULAS, "a=b"], "n": [-1.5, *range(6)], "l": [["=x"]] * 7})
    head, *rows = csv.reader(io.StringIO(results.as_csv(table).decode("utf-8-sig"), newline=""))
    assert head == ["'=cmd", "n", "l"]
    assert [row[0] for row in rows] == [*(f"'{text}" for text in FORMULAS), "a=b"]
    assert rows[0][1:] == ["-1.5", '["=x"]'], "a number is no formula"


def test_parquet_keeps_every_value() -> None:
    table = pa.table({"t": [DAY], "text": ["=1+1"], "n": pa.array([None], pa.float64())})
    assert pq.read_table(io.BytesIO(results.as_parquet(table))).equals(table)


def test_unknown_is_a_dash_and_long_text_is_cut() -> None:
    table = pa.table({"a": [None, "x" * 1_000], "t": [DAY, None]})
    first, second = results.shown_rows(table, 2)
    assert first == ["—", "2026-11-24"]
    assert len(second[0]) == results.SHOWN_CHARS and second[1] == "—"


def test_a_series_a_model_over_time_is_guessed_and_drawn() -> None:
    table = pa.table({"model": ["a", "b", "a"], "day": [DAY] * 3, "usd": [1, 2, None]})
    x, amounts, split = results.axes_of(table.schema)
    assert (x, amounts, split) == ("day", ["usd"], "model")
    drawn = results.figure(table, "Bar", x, amounts, split)
    assert [(s["name"], s["y"]) for s in drawn["data"]] == [("a", [1.0, None]), ("b", [2.0])]


@pytest.mark.parametrize("kind", results.KINDS)
def test_no_label_of_a_chart_is_markup(kind: results.Kind) -> None:
    hostile = '<a href="javascript:1">x</a>'
    table = pa.table({"t": [hostile], hostile: [1], "by": [hostile]})
    spec = json.dumps(results.figure(table, kind, "t", [hostile], "by"))
    assert "<a" not in spec and "&lt;a" in spec


@pytest.mark.parametrize("sql", EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_runs(database: Database, sql: str) -> None:
    assert database.rows(sql) == []


@pytest.mark.parametrize("sql", EXAMPLES.values(), ids=EXAMPLES)
def test_a_column_goes_into_an_example(database: Database, sql: str) -> None:
    changed = with_column(sql, "usage_minute" if "usage_minute" in sql else "requests", "tenant")
    assert "tenant" in changed
    if "cost_usd" not in changed:
        assert database.rows(changed) == []


@pytest.mark.parametrize("position", [(1, 1), (9, 1), (1, 500)])
def test_a_position_is_shown_wherever_it_is(position: tuple[int, int]) -> None:
    assert pointed_at("select " + "x" * 600, position).endswith("^")


class Refusing:
    """Answers statements as a collector that refuses all of them."""

    def __init__(self, error: QueryError) -> None:
        self.error = error

    def query(self, sql: str, params: Any = None, *, max_rows: int = 0) -> pa.Table:
        raise self.error

    def status(self) -> dict[str, Any]:
        return {"data_version": 1}


def test_a_refusal_is_passed_on_as_it_is() -> None:
    error = QueryError("forbidden", "Only one reading statement (SELECT) may be sent.", 403, (1, 1))
    with pytest.raises(QueryError) as raised:
        Reader(lambda: Refusing(error)).table("drop table x", 10)
    assert raised.value is error


def test_explore_without_a_collector_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TAXIMETER_COLLECTOR_HTTP_PORT", "1")
    monkeypatch.setenv("TAXIMETER_ALERTS_PORT", "1")
    monkeypatch.chdir(tmp_path)
    app = AppTest.from_file(str(APP), default_timeout=30)
    app.query_params["sql"] = "select 1"
    app.switch_page("views/explore.py").run()
    assert not app.exception
    assert [code.value for code in app.code] == ["taximeter up"]
