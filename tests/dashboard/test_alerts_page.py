"""The Alerts page against the real alerts API: what it shows and what its buttons do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from tests.alerts.served import served
from tests.alerts.timeline import RULES, Timeline

import taximeter_dashboard
from taximeter_alerts.api_rows import budget_row
from taximeter_alerts.budgets import BudgetSpend, Spend, status_of
from taximeter_alerts.rules import Budget
from taximeter_dashboard.budget_rows import budget_rows

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BUDGET = status_of(
    Budget("team", 100.0, "day", on_exhausted="stop"),
    {"tenant": "acme"},
    "g",
    BudgetSpend({"g": ({}, (Spend(120.0, 0.9), Spend(), Spend()))}, {}),
    AT,
)
PAGE = Path(taximeter_dashboard.__file__).parent / "views" / "alerts.py"


@pytest.fixture
def timeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path, RULES)
    timeline.run(5, (("cost", "a"), ("errors", "b")))
    with served(timeline, budgets=lambda: [BUDGET]) as url:
        monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
        monkeypatch.setenv("TAXIMETER_ALERTS_PORT", url.rpartition(":")[2])
        monkeypatch.chdir(tmp_path)
        st.cache_resource.clear()
        yield timeline
    timeline.close()
    st.cache_resource.clear()


def page() -> AppTest:
    app = AppTest.from_file(str(PAGE), default_timeout=30).run()
    assert not app.exception
    return app


def press(app: AppTest, key: str) -> None:
    app.button(key=key).click().run()
    assert not app.exception


def test_acknowledge_and_snooze_reach_the_service(timeline: Timeline) -> None:
    app = page()
    app.text_input(key="act-author").input("ann")
    press(app, "act-ack")
    press(app, "act-snooze")
    rows = timeline.log.rows("select * from incident where acked_by is not null")
    assert [(row["acked_by"], row["snoozed_by"]) for row in rows] == [("ann", "ann")]


def test_a_silence_is_made_and_ended(timeline: Timeline) -> None:
    app = page()
    app.multiselect(key="silence-match").select("Agent: a").run()
    app.text_input(key="silence-author").input("ann")
    app.text_input(key="silence-comment").input("deploy")
    press(app, "silence-add")
    (row,) = timeline.log.rows("select * from silence")
    assert (row["matchers"], row["author"], row["comment"]) == (
        '{"agent_name": "a"}',
        "ann",
        "deploy",
    )
    press(app, f"silence-end-{row['id']}")
    assert timeline.log.rows("select 1 from silence where ended_at is null") == []


def test_a_test_notice_is_sent_and_a_dead_one_again(timeline: Timeline) -> None:
    timeline.log.execute("update outbox set status = 'dead', last_error = 'no' where rowid = 1")
    app = page()
    press(app, "test-ops")
    assert timeline.inbox().notices[-1].kind == "test"
    (dead,) = (row["id"] for row in timeline.outbox.undelivered())
    press(app, f"retry-{dead}")
    assert [row["status"] for row in timeline.outbox.undelivered()] == ["queued"]


def test_a_budget_is_a_row_with_its_bar_and_a_way_to_its_spend(timeline: Timeline) -> None:
    asked: list[dict[str, object]] = []

    def url(page: str, **parameters: object) -> str:
        asked.append({"page": page, **parameters})
        return page

    (row,) = budget_rows([budget_row(BUDGET)], UTC, AT, url)
    assert asked == [
        {
            "page": "costs",
            "start": "2026-11-20T00:00Z",
            "end": "2026-11-20T12:00Z",
            "tenant": ["acme"],
        }
    ]
    name, used, left, expected, ends, stops = row["c"]
    assert name == ["team: acme", "costs", "", "90% priced"]
    assert used == ["≥ $120 of $100 a day · 120.0%", 1.2]
    assert (left, expected) == ("$20.00 over", "learning, 0 of 7 days")
    assert "21" in ends and stops == "the fleet is told to stop"
    page()
