"""A running service follows alerts.yaml: what fires goes on firing, and a file with faults changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.alerts.test_alerts_process import Alerts, Store, World, alerts, world_of
from tests.alerts.timeline import RULES, Timeline
from tests.patience import wait_until

__all__ = ["alerts"]
MORE = "  - {name: dear, watch: cost_per_request_usd, by: agent_name, when: above $0.50}\n"


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    """Traffic that goes on while the test does: what is not new does not begin to fire."""
    yield from world_of(store, minutes=40)


def names(alerts: Alerts) -> list[str]:
    return [rule["name"] for rule in alerts.get("/api/rules")["rules"]]


def receivers(alerts: Alerts) -> list[str]:
    return [receiver["name"] for receiver in alerts.get("/api/receivers")["receivers"]]


def problem(alerts: Alerts) -> str | None:
    said: str | None = alerts.get("/api/rules/file")["file"]["problem"]
    return said


@pytest.fixture
def file(alerts: Alerts) -> Path:
    return alerts.data_dir / "alerts.yaml"


def test_what_is_saved_is_judged_without_a_restart_and_what_fires_is_not_told_again(
    alerts: Alerts, world: World, file: Path
) -> None:
    wait_until(lambda: bool(world.notices))
    found = alerts.get("/api/rules/file")["file"]
    text = found["text"].replace("rules: [{", "rules:\n  - {").replace("2x}]", f"2x}}\n{MORE}")
    text = text.replace("{ops:", "{page: {slack: env:HOOK}, ops:").replace("5s", "6s")
    body = {"text": text, "digest": found["digest"], "author": "ann"}
    saved = httpx.put(f"{alerts.url}/api/rules/file", json=body)
    assert saved.status_code == 200, saved.text
    wait_until(lambda: names(alerts) == ["cost-per-request", "dear"], "the new rule")
    assert receivers(alerts) == ["page", "ops"]
    assert alerts.get("/api/rules")["every_s"] == 6
    wait_until(lambda: {a["rule"] for a in alerts.firing()} == {"cost-per-request", "dear"})
    wait_until(lambda: len(world.notices) == 2, "the new receiver is told what fires")
    sent = alerts.get("/api/incidents")["incidents"]
    assert [incident["told"] for incident in sent] == [["ops", "page"]]
    assert alerts.stop() == 0
    assert alerts.process is not None and alerts.process.stdout is not None
    assert "alerts.yaml was changed: 2 own rules" in alerts.process.stdout.read()


def test_a_file_with_faults_or_none_changes_nothing_and_is_said(
    alerts: Alerts, file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = file.read_text(encoding="utf-8")
    file.write_text(good.replace("env:HOOK", "xoxb-secret"), encoding="utf-8")
    wait_until(lambda: "has 1 fault: the rules from before stay" in (problem(alerts) or ""))
    file.unlink()
    wait_until(lambda: "is gone: the rules from before stay" in (problem(alerts) or ""))
    assert (names(alerts), receivers(alerts)) == (["cost-per-request"], ["ops"])
    file.write_text(good, encoding="utf-8")
    wait_until(lambda: problem(alerts) is None)
    file.write_text(good.replace("notify: {ops: {slack: env:HOOK}}", ""), encoding="utf-8")
    wait_until(lambda: receivers(alerts) == [], "no receiver")
    assert alerts.stop() == 0
    assert "xoxb-secret" not in capfd.readouterr().err


def test_what_waits_for_a_receiver_that_is_gone_is_given_up_and_the_others_go_on(
    timeline: Timeline,
) -> None:
    timeline.restart(RULES.replace("{ops:", "{page: {email: p@example.org}, ops:"))
    for name in ("ops", "page"):
        timeline.inbox(name).is_down = True
    timeline.run(3, (("errors", "a"),))
    timeline.outbox.follow({"page": timeline.inbox("page")})
    dead = {row["receiver"]: row["last_error"] for row in timeline.outbox.undelivered()}
    assert dead["ops"] == "the receiver is no longer in alerts.yaml"
    assert timeline.outbox.send_next("ops") is False
    timeline.inbox("page").is_down = False
    timeline.run(5, (("errors", "a"),))
    assert [notice.kind for notice in timeline.inbox("page").notices] == ["firing"]
    assert timeline.inbox("ops").notices == []
