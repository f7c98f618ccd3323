"""A backtest from the page: one at a time, beside the process, its answer or its error kept."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from tests.alerts.served import served
from tests.alerts.timeline import Timeline
from tests.patience import wait_until

from taximeter.settings.settings import load_settings
from taximeter_alerts.backtest.backtest_job import BacktestJob, backtest_command

FOUND = {"groups": 3, "incidents": 0, "rules": {}, "notices": [], "guards": []}
SAYS = "import sys, json; print(json.dumps({'days': sys.argv[1], **" + repr(FOUND) + "}))"
WAITS = "import time; time.sleep(60)"
FAILS = "import sys; print('taximeter alerts: there was no traffic', file=sys.stderr); sys.exit(1)"


def job_of(script: str) -> BacktestJob:
    return BacktestJob(lambda days: [sys.executable, "-c", script, str(days)])


def test_its_answer_is_kept_until_the_next_one(timeline: Timeline) -> None:
    job = job_of(SAYS)
    with served(timeline, backtests=job) as url:
        assert httpx.get(f"{url}/api/backtest").json()["backtest"]["status"] == "none"
        started = httpx.post(f"{url}/api/backtest", json={"days": 14})
        assert started.status_code == 200
        wait_until(lambda: job.job.status == "done")
        answer = httpx.get(f"{url}/api/backtest").json()["backtest"]
    assert (answer["days"], answer["error"]) == (14, None)
    assert answer["result"] == {"days": "14", **FOUND}


def test_one_runs_at_a_time_and_a_stop_ends_it(timeline: Timeline) -> None:
    job = job_of(WAITS)
    with served(timeline, backtests=job) as url:
        assert httpx.post(f"{url}/api/backtest", json={}).json()["backtest"]["days"] == 30
        again = httpx.post(f"{url}/api/backtest", json={})
        assert (again.status_code, "is running" in again.text) == (409, True)

        def is_over() -> bool:
            job.stop()
            return job.job.status == "failed"

        wait_until(is_over)


def test_the_reason_of_a_failure_is_said(timeline: Timeline) -> None:
    job = job_of(FAILS)
    assert job.start(7, timeline.now)
    wait_until(lambda: job.job.status == "failed")
    assert job.job.error == "there was no traffic"


@pytest.mark.parametrize("days", [0, 367, "7", None, True])
def test_days_that_are_none_are_refused(timeline: Timeline, days: object) -> None:
    with served(timeline, backtests=job_of(SAYS)) as url:
        answer = httpx.post(f"{url}/api/backtest", json={"days": days})
    assert (answer.status_code, "from 1 to 366" in answer.text) == (400, True)


def test_it_is_the_command_on_the_same_configuration(tmp_path: Path) -> None:
    settings = load_settings(None, {}, data_dir=tmp_path)
    command = backtest_command(settings)(7)
    assert command[1:3] == ["-m", "taximeter_alerts"]
    assert command[-3:] == ["--json", "--days", "7"]
    assert json.dumps(str(tmp_path)) in json.dumps(command)


def test_a_service_that_stops_leaves_no_process_behind_that_was_about_to_start() -> None:
    is_stopped = threading.Event()

    def command(days: int) -> Sequence[str]:
        is_stopped.wait()
        return [sys.executable, "-c", WAITS]

    job = BacktestJob(command)
    job.start(1, datetime.now(UTC))
    job.stop()
    is_stopped.set()
    wait_until(lambda: job.job.status == "failed")
    assert job.job.error == "the service stops"


def test_the_command_finds_the_rules_of_the_data_dir_and_a_text_that_is_piped_in(
    tmp_path: Path,
) -> None:
    """What stood before the command's name was lost."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "alerts.yaml").write_text("version: 1\nrulez: []\n", encoding="utf-8")
    settings = load_settings(None, {}, data_dir=data)

    def said(*more: str, text: str = "") -> str:
        command = [*backtest_command(settings)(1), *more]
        ran = subprocess.run(
            command, input=text, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return f"{ran.returncode} {ran.stderr.splitlines()[0]}"

    assert said() == f"2 {data}/alerts.yaml:2:1: unknown key 'rulez'; did you mean 'rules'?"
    assert said("-", text="version: 2\n").startswith("2 -:1:10: version: this program reads")
