"""The dashboard's client of the alerts service, against the real API and against one that never answers."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path

import pytest
from tests.alerts.served import served
from tests.alerts.timeline import START, Timeline

from taximeter_dashboard.alerts_api import AlertsApi, ReadOnlyAlertsApi

WINDOW = (START - timedelta(hours=1), START + timedelta(hours=1))


def test_annotations_are_added_read_by_window_and_deleted(tmp_path: Path) -> None:
    timeline = Timeline(tmp_path)
    with served(timeline) as url:
        api, reader = AlertsApi(lambda: url), ReadOnlyAlertsApi(lambda: url)
        made = api.add_annotation("flushed", agent_name="a", until=None).answer
        assert api.annotations(*WINDOW).rows == [made]
        later = (START + timedelta(minutes=1), WINDOW[1])
        assert api.annotations(*later).rows == []
        assert api.add_annotation("").error == "text must be 1 to 200 characters."
        for refused in (reader.add_annotation("x"), reader.delete_annotation(made["id"])):
            assert refused.error == "You may look, and not change: sign in as an editor."
        assert api.delete_annotation(made["id"]).error is None
        assert api.annotations(*WINDOW).rows == []
    timeline.close()


def test_a_service_that_never_answers_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        api = AlertsApi(lambda: f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert not api.annotations(*WINDOW).is_reachable
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()
