"""The watchdog says why no evaluation ended: one that takes long is no clock that was set back."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from tests.patience import wait_until

from taximeter_alerts import scheduler


def test_an_evaluation_that_takes_long_is_said_as_what_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduler, "_WATCH_S", 0.01)
    monkeypatch.setattr(scheduler, "_PATIENCE_S", 0.05)
    finish = threading.Event()
    running = scheduler.Scheduler(
        timedelta(milliseconds=10), finish.wait, [], lambda receiver: None
    )
    running.start()
    try:
        wait_until(lambda: "alerts are late" in caplog.text, "the warning")
    finally:
        finish.set()
        running.stop()
    assert "set back" not in caplog.text.split("alerts are late")[0]
