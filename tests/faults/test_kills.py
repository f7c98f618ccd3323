"""A few rounds of `python -m tests.faults.kill_rounds`, days moving on and old ones leaving between the kills."""

from __future__ import annotations

from pathlib import Path

from tests.faults.kill_rounds import run


def test_what_was_acknowledged_is_there_once_and_followed_after_every_kill(tmp_path: Path) -> None:
    result = run(tmp_path / "data", rounds=4, seed=3, senders=3, day_rounds=2)
    assert result.is_right, result
    assert result.acknowledged_requests > 4 and result.traces_verified > 0
