"""The views' logic in Streamlit's own test runner, over a collector that is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

import taximeter_dashboard

APP = Path(taximeter_dashboard.__file__).parent / "app.py"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("TAXIMETER_STORE_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("TAXIMETER_COLLECTOR_HTTP_PORT", "1")
    monkeypatch.setenv("TAXIMETER_ALERTS_PORT", "1")
    monkeypatch.chdir(tmp_path)
    return AppTest.from_file(str(APP), default_timeout=30)


def test_a_collector_that_is_down_is_one_sentence_and_a_way_on(app: AppTest) -> None:
    app.run()
    assert not app.exception
    assert [code.value for code in app.code] == ["taximeter up"]
    assert "Retry" in [button.label for button in app.button]


def test_a_retry_is_harmless(app: AppTest) -> None:
    app.run()
    next(button for button in app.button if button.label == "Retry").click().run()
    assert not app.exception


def test_the_range_comes_from_the_address(app: AppTest) -> None:
    app.query_params["range"] = "7d"
    app.run()
    assert not app.exception
    scope = app.session_state["_scope"]
    assert (scope.end - scope.start).days == 7


def test_filters_of_the_address_survive_a_collector_that_is_down(app: AppTest) -> None:
    app.query_params["agent"] = "support"
    app.run()
    assert not app.exception
    assert app.session_state["_scope"].where == {"agent_name": ["support"]}
