"""A few rounds of kill -9 between decision and delivery; `python -m tests.alerts.kill_rounds` does more."""

from __future__ import annotations

from pathlib import Path

from tests.alerts.kill_rounds import run


def test_no_notice_is_lost_and_none_repeated_unseen(tmp_path: Path) -> None:
    result = run(tmp_path, rounds=2, seed=11)
    assert result.is_right, result
    assert (result.kills, result.notices > 0) == (2, True)
