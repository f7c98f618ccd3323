"""The text of alerts.yaml on the Alerts page, against the real alerts API."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest
from tests.alerts.served import served
from tests.alerts.timeline import RULES, Timeline
from tests.dashboard.test_alerts_page import FOUND, PAGE
from tests.patience import wait_until

from taximeter.settings.settings import load_settings
from taximeter_alerts.api.rules_text import InForce, RulesText
from taximeter_alerts.backtest.backtest_job import BacktestJob
from taximeter_alerts.rules.rules_on_disk import RulesOnDisk, digest_of
from taximeter_dashboard import backtest_rows, rules_text, session
from taximeter_dashboard.alerts_api import alerts_api_for

GOOD = "version: 1\nrules:\n  - {name: dear, watch: cost_usd, when: above $5}\n"
BAD = GOOD.replace("cost_usd", "cost_us")


@pytest.fixture
def job() -> BacktestJob:
    return BacktestJob(lambda days: [sys.executable, "-c", f"print({json.dumps(FOUND)!r})"])


@pytest.fixture
def timeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: BacktestJob
) -> Iterator[Timeline]:
    monkeypatch.chdir(tmp_path)
    timeline = Timeline(tmp_path / "data", RULES)
    disk = RulesOnDisk(load_settings(None, {}, data_dir=timeline.data_dir))
    in_force = InForce(digest_of(GOOD))
    text = RulesText(disk, timeline.log, lambda: timeline.now, lambda: in_force)
    with served(timeline, backtests=job, rules_text=text) as url:
        monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(timeline.data_dir))
        monkeypatch.setenv("TAXIMETER_ALERTS_PORT", url.rpartition(":")[2])
        st.cache_resource.clear()
        yield timeline
    timeline.close()
    st.cache_resource.clear()


@pytest.fixture
def file(timeline: Timeline) -> Path:
    return timeline.data_dir / "alerts.yaml"


def page() -> AppTest:
    """Open the page with the text unfolded."""
    app = AppTest.from_file(str(PAGE), default_timeout=30)
    app.session_state["rules-file"] = True
    app.run()
    assert not app.exception
    return app


def edit(app: AppTest, text: str) -> None:
    app.text_area(key="rules-text").input(text)


def press(app: AppTest, key: str) -> None:
    # What the API answers is kept for two seconds; a change drops it.
    app.button(key=key).click().run()
    assert not app.exception


def said(app: AppTest) -> str:
    return json.dumps(app.session_state["_rules_said"])


def keys(app: AppTest) -> set[str]:
    return {str(button.key) for button in app.button}


def test_faults_are_all_said_with_their_lines_and_nothing_is_saved(
    timeline: Timeline, file: Path
) -> None:
    app = page()
    assert "# rules:" in str(app.text_area(key="rules-text").value)
    for key in ("rules-check", "rules-save", "rules-try-7"):
        edit(app, BAD + "rulez: 1\n")
        press(app, key)
        assert "2 faults" in said(app)
        assert "3:25 rule dear: watch: unknown metric 'cost_us'; did you mean 'cost_usd'?" in said(
            app
        )
        assert "4:1 unknown key 'rulez'" in said(app)
    assert not file.exists()
    edit(app, GOOD)
    press(app, "rules-check")
    assert "1 own rule, 9 default rules, 0 receivers, no errors" in said(app)


def test_a_text_is_tried_and_its_answer_says_that_it_is_of_that_text(
    timeline: Timeline, job: BacktestJob, file: Path
) -> None:
    app = page()
    edit(app, GOOD)
    press(app, "rules-try-30")
    wait_until(lambda: job.job.status == "done")
    assert (job.job.days, job.job.text) == (30, GOOD)
    assert "30 days are being judged by this text" in said(app)
    asked = alerts_api_for(load_settings(), may_change=True).backtest()
    assert backtest_rows.summary(asked).startswith("the edited text, in 30 days")
    assert not file.exists()


def test_what_is_saved_stands_in_the_file_with_the_editors_name(
    timeline: Timeline, file: Path
) -> None:
    app = page()
    edit(app, GOOD)
    app.text_input(key="rules-author").input("ann")
    press(app, "rules-save")
    assert "Saved." in said(app)
    assert file.read_text(encoding="utf-8") == GOOD
    (row,) = timeline.log.rows("select author from rules_change")
    assert row["author"] == "ann"
    edit(app, GOOD.replace("$5", "$6"))
    press(app, "rules-save")
    assert "$6" in file.read_text(encoding="utf-8")
    assert file.with_name("alerts.yaml.bak").read_text(encoding="utf-8") == GOOD


@pytest.mark.parametrize("choice", ["rules-take", "rules-keep"])
def test_a_file_changed_meanwhile_is_shown_and_the_editor_decides(
    timeline: Timeline, file: Path, choice: str
) -> None:
    file.write_text(GOOD, encoding="utf-8")
    app = page()
    theirs, mine = GOOD.replace("$5", "$7"), GOOD.replace("$5", "$9")
    file.write_text(theirs, encoding="utf-8")
    edit(app, mine)
    press(app, "rules-save")
    assert "has changed since it was read: nothing was saved" in said(app)
    assert file.read_text(encoding="utf-8") == theirs
    press(app, choice)
    assert choice not in keys(app)
    kept = theirs if choice == "rules-take" else mine
    assert app.text_area(key="rules-text").value == kept
    press(app, "rules-save")
    assert file.read_text(encoding="utf-8") == kept


def test_a_viewer_reads_the_text_and_can_change_nothing(
    timeline: Timeline, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(GOOD, encoding="utf-8")
    monkeypatch.setattr(session, "role", lambda: "viewer")
    app = page()
    assert [code.value for code in app.code] == [GOOD.strip()]
    assert not app.text_area and not {key for key in keys(app) if key.startswith("rules")}
    api = session.alerts()
    digest = api.rules_file()["digest"]
    for done in (
        api.check_rules(BAD),
        api.save_rules(BAD, digest, ""),
        api.start_backtest(7, GOOD),
    ):
        assert done.error == "You may look, and not change: sign in as an editor."
    assert file.read_text(encoding="utf-8") == GOOD


def test_a_viewer_does_not_see_a_text_with_faults(
    timeline: Timeline, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A secret that stands in the file is such a fault."""
    file.write_text("version: 1\nnotify: {ops: {slack: xoxb-secret}}\n", encoding="utf-8")
    monkeypatch.setattr(session, "role", lambda: "viewer")
    assert not page().code


def test_where_the_file_cannot_be_written_the_text_can_be_taken_away(
    timeline: Timeline, file: Path
) -> None:
    file.write_text(GOOD, encoding="utf-8")
    file.chmod(0o444)
    app = page()
    assert "rules-save" not in keys(app)
    assert {"rules-check", "rules-try-7"} <= keys(app)
    assert app.get("download_button")


def test_who_saved_it_is_said() -> None:
    row: dict[str, Any] = {"path": "/d/alerts.yaml", "is_file": True, "is_in_force": True}
    assert rules_text.about(row, UTC) == "/d/alerts.yaml"
    row |= {"saved_by": "ann", "saved_at": "2026-11-20T14:00:00.000000Z"}
    assert rules_text.about(row, UTC) == "/d/alerts.yaml · saved by ann, 20 Nov 14:00"
    assert rules_text.about(row | {"is_in_force": False}, UTC).endswith(" · not in force yet")
    assert "the default rules run" in rules_text.about({"path": "/d/alerts.yaml"}, UTC)
