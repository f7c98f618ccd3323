"""The Alerts page against the real alerts API: what it shows and what its buttons do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from tests.alerts.served import served
from tests.alerts.timeline import RULES, Timeline
from tests.patience import wait_until

import taximeter_dashboard
from taximeter_alerts.api.api_rows import budget_row
from taximeter_alerts.backtest.backtest_job import BacktestJob
from taximeter_alerts.judge.budgets import BudgetSpend, Spend, status_of
from taximeter_alerts.outbox.notice import dashboard_link
from taximeter_alerts.rules.book import Budget, Condition, Rule
from taximeter_dashboard import backtest_rows, blocks, queries
from taximeter_dashboard.budget_rows import budget_rows
from taximeter_dashboard.narrowing import among_of, among_text
from taximeter_dashboard.scope import FILTERS

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BUDGET = status_of(
    Budget("team", 100.0, "day", on_exhausted="stop"),
    {"tenant": "acme"},
    "g",
    BudgetSpend({"g": ({}, (Spend(120.0, 0.9), Spend(), Spend()))}, {}),
    AT,
)
FOUND = {
    "groups": 3,
    "incidents": 1,
    "rules": {"dear": {"fired": 2, "a_week": 2.0, "by_sensitivity": {"low": 0, "high": 3}}},
    "guards": [
        {"agent_name": "a", "limit_name": "iterations", "limit_value": 10.0, "runs": 102,
         "completed": 100, "stopped": 2, "stopped_completed": 1, "saved_usd": 2.4, "spent_usd": 8.0}
    ],
    "notices": [
        {"at": "2026-11-20T10:00:00Z", "kind": "firing", "title": "cost, a", "sentence": "a: dear."},
        {"at": "2026-11-20T11:00:00Z", "kind": "resolved", "title": "cost, a", "sentence": "Over."},
    ],
}  # fmt: skip
PAGE = Path(taximeter_dashboard.__file__).parent / "views" / "alerts.py"


@pytest.fixture
def job() -> BacktestJob:
    return BacktestJob(lambda days: [sys.executable, "-c", f"print({json.dumps(FOUND)!r})"])


@pytest.fixture
def timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: BacktestJob
) -> Iterator[Timeline]:
    timeline = Timeline(tmp_path, RULES)
    timeline.run(5, (("cost", "a"), ("errors", "b")))
    with served(timeline, budgets=lambda: [BUDGET], backtests=job) as url:
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


def test_all_quiet_of_long_ago_is_not_shown_as_now(
    timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service of this test has judged up to a day in November 2026."""
    notes: list[str] = []
    real = blocks.note

    def note(text: str, tone: blocks.Tone = "") -> blocks.Block:
        notes.append(text)
        return real(text, tone)

    monkeypatch.setattr(blocks, "note", note)
    page()
    assert any(text.startswith("Judged up to 20 Nov") for text in notes)


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


def test_a_viewer_gets_no_button_that_changes_anything(
    timeline: Timeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    timeline.log.execute("update outbox set status = 'dead', last_error = 'no' where rowid = 1")
    assert {"act-ack", "test-ops", "backtest-start", "silence-add"} <= changing(page())
    monkeypatch.setattr("taximeter_dashboard.session.role", lambda: "viewer")
    assert changing(page()) == set()


def changing(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


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


def test_a_backtest_is_started_and_its_answer_drawn(timeline: Timeline, job: BacktestJob) -> None:
    press(page(), "backtest-start")
    wait_until(lambda: job.job.status == "done")
    assert (job.job.days, job.job.result) == (7, FOUND)
    st.cache_resource.clear()
    page()


def test_a_backtest_says_rules_limits_and_notices() -> None:
    job = {"status": "done", "days": 7, "result": FOUND}
    assert backtest_rows.summary(job) == "in 7 days and 3 groups: 1 incidents, 2 notices"
    assert backtest_rows.rule_rows(FOUND) == [["Dear", "2", "2.0", "0", "—", "3"]]
    assert backtest_rows.guard_rows(FOUND) == [["a", "iterations=10", "2", "102", "1", "$2.40"]]
    (item,) = backtest_rows.notice_items(FOUND, UTC)
    assert (item["title"], item["text"]) == ("Firing: cost, a", "a: dear.")
    assert backtest_rows.summary({"status": "failed", "days": 7, "error": "no"}) == "failed: no"
    assert "being judged" in backtest_rows.summary({"status": "running", "days": 7})


@pytest.mark.parametrize(
    ("watch", "labels", "said", "sort"),
    [
        ("cost_per_request_usd", {"agent_name": "a"}, "", "cost"),
        ("cost_usd", {"tenant": "acme"}, "", "cost"),
        ("loop_length_mean", {"agent_name": "a"}, "", "loops"),
        ("latency_p95_seconds", {"agent_name": "a"}, "", "duration"),
        ("cache_hit_ratio", {"agent_name": "a"}, "", "cache"),
        ("error_rate", {"agent_name": "a"}, "that failed", None),
        (
            "tool_error_rate",
            {"agent_name": "a", "tool_name": "pay"},
            "with a failed tool: tool pay, agent a",
            None,
        ),
        (
            "call_error_rate",
            {"provider": "openai", "model": "m"},
            "with a failed model call: model m",
            None,
        ),
    ],
)
def test_the_link_of_a_notice_is_read_by_the_page_of_requests(
    watch: str, labels: dict[str, str | None], said: str, sort: str | None
) -> None:
    rule = Rule("r", watch, Condition("above", 1.0))
    now = datetime(2026, 11, 20, 14, 0, tzinfo=UTC)
    link = dashboard_link("http://127.0.0.1:8501", rule, labels, now, now, 3_600)
    found = dict(parse_qsl(urlsplit(link or "").query))
    assert (found.pop("start"), found.pop("end")) == ("2026-11-20T13:00Z", "2026-11-20T14:15Z")
    among = among_of(found)
    assert among_text(among).removeprefix("Only requests ") == said
    assert found.pop("sort", "-").lstrip("-") == (sort or "")
    assert sort is None or sort in queries.SORTS
    if not said or among.failed == "request":
        left = {FILTERS[name]: value for name, value in found.items() if name in FILTERS}
        assert left == labels
