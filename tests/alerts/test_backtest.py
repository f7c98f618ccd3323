"""A backtest says what the running process would have sent."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts.__main__ import main
from taximeter_alerts.backtest.backtest import backtest_json, backtest_text, run_backtest
from taximeter_alerts.rules.rules_file import parse_rules

BOOK = parse_rules(
    "version: 1\ndefaults: false\nnotify: {a: {email: a@example.org}, b: {email: b@example.org}}\n"
    "rules:\n"
    "  - {name: dear, watch: cost_per_request_usd, by: agent_name, when: spike 2x, notify: [a]}\n"
    "  - {name: failing, watch: error_rate, by: agent_name, when: above 20%}\n",
    "alerts.yaml",
    {},
)


@pytest.fixture
def end(store: MemoryStore, clock: Clock) -> datetime:
    """Five days of the usual, with an hour at four times the cost eight hours before the end."""
    end = clock.now.replace(minute=0, second=0)
    dear = end - timedelta(hours=8)
    before = 5 * 1440 - 8 * 60
    store.add_minutes("support", end - timedelta(days=5), before, requests=6)
    store.add_minutes("support", dear, 60, requests=6, cost_usd=0.11)
    store.add_minutes("support", dear + timedelta(hours=1), 7 * 60, requests=6)
    return end


def test_it_tells_the_notices_the_incidents_and_the_other_sensitivities(
    store: MemoryStore, end: datetime
) -> None:
    found = run_backtest(BOOK, store, end - timedelta(hours=12), end)
    assert [notice.kind for notice in found.notices] == ["firing", "resolved"]
    assert "support: cost per request $0.11, 2.2x the usual $0.05" in found.notices[0].sentence
    assert (found.incidents, found.groups) == (1, 1)
    dear, failing = found.rules["dear"], found.rules["failing"]
    assert (dear.as_written, failing.as_written) == (1, 0)
    assert dear.by_sensitivity == {"low": 0, "normal": 1, "high": 1}
    assert failing.by_sensitivity == {}
    text = backtest_text(found)
    assert "1 incidents (14.0 a week), 2 notices, 1 of them resolved." in text
    assert any(line.split() == ["dear", "1", "14.0", "0", "1", "1"] for line in text.splitlines())
    assert json.loads(json.dumps(backtest_json(found)))["rules"]["dear"]["fired"] == 1


def test_a_quiet_past_sends_nothing(store: MemoryStore, end: datetime) -> None:
    start = end - timedelta(hours=14)
    found = run_backtest(BOOK, store, start, start + timedelta(hours=5))
    assert (found.notices, found.incidents) == ([], 0)


@pytest.mark.parametrize("days", ["0", "367", "many"])
def test_days_that_are_none_are_wrong_usage(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["backtest", "--days", days])
    assert caught.value.code == 2
    assert "is not a number of days from 1 to 366" in capsys.readouterr().err


def test_without_a_collector_it_exits_with_one_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAXIMETER_COLLECTOR_HTTP_PORT", "1")
    assert main(["--data-dir", str(tmp_path), "backtest", "--days", "1"]) == 1
    assert capsys.readouterr().err.startswith("taximeter alerts: ")
