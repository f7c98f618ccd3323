"""What docs/alerts.md says of the first five minutes, done as it stands there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.alerts.fake_http import FakeHttp

from taximeter_alerts.__main__ import main

DOCUMENT = Path(__file__).parents[2] / "docs" / "alerts.md"


@pytest.fixture
def slack() -> Iterator[FakeHttp]:
    fake = FakeHttp()
    yield fake
    fake.close()


def test_the_first_notice_arrives_in_slack(
    slack: FakeHttp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## The first alert in Slack")[1]
    found = re.search(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert found is not None
    # Slack itself is a public address; the one here is not.
    (tmp_path / "alerts.yaml").write_text(f"{found[1]}allow_networks: [127.0.0.0/8]\n")
    monkeypatch.setenv("SLACK_WEBHOOK_URL", f"{slack.url}/services/T/B/x")
    monkeypatch.chdir(tmp_path)
    assert main(["--data-dir", str(tmp_path), "check"]) == 0
    assert "1 receiver, no errors" in capsys.readouterr().out
    assert main(["--data-dir", str(tmp_path), "test-notify", "ops"]) == 0
    assert capsys.readouterr().out == "ops: the test notice was delivered.\n"
    (message,) = slack.bodies
    assert message["text"] == (
        "🔵 Test: notices arrive\nThis is a test: alerts of taximeter will reach you here."
    )


def test_a_receiver_in_the_own_network_says_which_setting_allows_it(
    slack: FakeHttp,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "alerts.yaml").write_text("version: 1\nnotify: {ops: {webhook: env:HOOK}}\n")
    monkeypatch.setenv("HOOK", f"{slack.url}/SECRET")
    monkeypatch.chdir(tmp_path)
    assert main(["--data-dir", str(tmp_path), "test-notify", "ops"]) == 1
    said = capsys.readouterr().err
    assert "add it to allow_networks in alerts.yaml" in said and "SECRET" not in said
    assert slack.requests == []
