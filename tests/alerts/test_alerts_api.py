"""The alerts API: what it shows, and what people can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.alerts.served import served
from tests.alerts.timeline import RULES, Timeline

from taximeter_alerts.evaluator import Health

COST_A, ERRORS_A = ("cost", "a"), ("errors", "a")


class Client:
    def __init__(self, timeline: Timeline, url: str, health: Health) -> None:
        self.timeline, self.url, self.health = timeline, url, health

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}/api/{path}").json()

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/api/{path}", json=body)

    @property
    def incident(self) -> str:
        return str(self.get("incidents")["incidents"][0]["id"])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    timeline, health = Timeline(tmp_path), Health()
    with served(timeline, health) as url:
        yield Client(timeline, url, health)
    timeline.close()


def test_an_incident_has_its_alerts_and_who_was_told(client: Client) -> None:
    client.timeline.run(5, (COST_A, ERRORS_A))
    (incident,) = client.get("incidents")["incidents"]
    assert (incident["rule"], incident["severity"], incident["status"]) == (
        "errors",
        "critical",
        "firing",
    )
    assert [alert["rule"] for alert in incident["alerts"]] == ["errors", "cost"]
    assert (incident["told"], incident["labels"]) == (["ops"], {"agent_name": "a"})
    assert "group_key" not in incident
    states = {alert["rule"]: alert["status"] for alert in client.get("alerts")["alerts"]}
    assert states == {"cost": "firing", "errors": "firing"}


def test_acknowledging_says_who_and_only_once(client: Client) -> None:
    client.timeline.run(5, (COST_A,))
    path = f"incidents/{client.incident}/ack"
    assert client.post(path, author="ann").json()["acked_by"] == "ann"
    assert client.post(path, author="bob").json()["acked_by"] == "ann"
    assert client.get("alerts")["alerts"][0]["acked_by"] == "ann"
    assert client.post("incidents/none/ack").status_code == 404
    client.timeline.run(30)
    assert client.post(path, author="bob").status_code == 409


def test_a_snooze_has_an_end_and_an_author(client: Client) -> None:
    client.timeline.run(5, (COST_A,))
    snoozed = client.post(
        f"incidents/{client.incident}/snooze", duration="30m", author="ann"
    ).json()
    assert (snoozed["snoozed_until"], snoozed["snoozed_by"]) == (
        "2026-11-20T14:35:00.000000Z",
        "ann",
    )
    client.timeline.run(40, (COST_A,))
    assert client.timeline.told == [(2, "firing"), (35, "still_firing")]
    assert client.post(f"incidents/{client.incident}/snooze", duration="5").status_code == 400


def test_a_silence_begins_ends_and_can_be_ended(client: Client) -> None:
    now = client.timeline.now
    made = client.post(
        "silences",
        matchers={"agent_name": "a"},
        starts_at=(now + timedelta(minutes=10)).isoformat(),
        ends_at=(now + timedelta(minutes=40)).isoformat(),
        author="ann",
        comment="deploy",
    ).json()
    assert [row["id"] for row in client.get("silences")["silences"]] == [made["id"]]
    client.timeline.run(5)
    client.timeline.run(1, (COST_A,))
    assert client.get("alerts")["alerts"][0]["silenced_by"] == []
    client.timeline.run(20, (COST_A,))
    assert client.get("alerts")["alerts"][0]["silenced_by"] == [made["id"]]
    assert httpx.delete(f"{client.url}/api/silences/{made['id']}").status_code == 200
    assert httpx.delete(f"{client.url}/api/silences/{made['id']}").status_code == 404
    assert client.get("silences")["silences"] == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"matchers": {}}, "matchers must name something"),
        ({"matchers": {"agnt": "a"}}, "No rule has a 'agnt'"),
        ({"matchers": {"rule": "costs"}}, "There is no rule 'costs'; did you mean 'cost'?"),
        ({"matchers": {"rule": "cost"}, "duration": "soon"}, "not a duration"),
        ({"matchers": {"rule": "cost"}, "ends_at": "soon"}, "ends_at: not a time"),
        ({"matchers": {"rule": "cost"}, "ends_at": "2020-01-01"}, "ends in the future"),
        ({"matchers": {"rule": "cost"}, "ends_at": "2027-01-01"}, "at most 30d"),
        ({"matchers": {"rule": "cost"}, "starts_at": "9999-12-31"}, "starts_at: not a time"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    client: Client, body: dict[str, Any], said: str
) -> None:
    answer = client.post("silences", **body)
    assert (answer.status_code, said in answer.text) == (400, True)


def test_a_silence_of_the_file_is_ended_there(tmp_path: Path) -> None:
    more = "silences: [{match: {rule: cost}, until: 2030-01-01}]\n"
    timeline = Timeline(tmp_path, RULES + more)
    with served(timeline) as url:
        (silence,) = httpx.get(f"{url}/api/silences").json()["silences"]
        answer = httpx.delete(f"{url}/api/silences/{silence['id']}")
    timeline.close()
    assert (answer.status_code, "alerts.yaml" in answer.text) == (409, True)


def test_a_test_notice_goes_through_the_outbox(client: Client) -> None:
    assert client.post("receivers/ops/test").json()["status"] == "sent"
    assert [notice.kind for notice in client.timeline.inbox().notices] == ["test"]
    client.timeline.inbox().is_down = True
    failed = client.post("receivers/ops/test").json()
    assert (failed["status"], failed["error"]) == ("queued", "the receiver is down")
    unknown = client.post("receivers/opps/test")
    assert (unknown.status_code, "there is ops" in unknown.text) == (404, True)


def test_what_is_dead_is_shown_counted_and_can_be_sent_again(client: Client) -> None:
    client.timeline.inbox().is_down = True
    client.timeline.run(1440 + 120, (COST_A,), step=30)
    (row,) = client.get("deliveries")["deliveries"]
    assert (row["status"], row["last_error"]) == ("dead", "the receiver is down")
    assert client.get("receivers")["receivers"] == [
        {
            "name": "ops",
            "channel": "email",
            "waiting": 0,
            "dead": 1,
            "last_error": "the receiver is down",
        }
    ]
    metrics = httpx.get(f"{client.url}/metrics").text
    assert 'taximeter_alerts_dead_notices{receiver="ops"} 1' in metrics
    client.timeline.inbox().is_down = False
    assert client.post(f"deliveries/{row['id']}/retry").status_code == 200
    client.timeline.deliver()
    assert [notice.kind for notice in client.timeline.inbox().notices] == ["firing"]
    assert client.post(f"deliveries/{row['id']}/retry").status_code == 404


def test_what_can_not_be_evaluated_is_an_error_unless_it_fires(client: Client) -> None:
    client.timeline.run(5, (COST_A,))
    client.timeline.run(1, (COST_A, ("cost", "b")))
    client.timeline.run(20, (COST_A,))
    client.health.failures_in_a_row = 3
    client.health.last_error = "No collector answers."
    states = {a["labels"]["agent_name"]: a["status"] for a in client.get("alerts")["alerts"]}
    assert states == {"a": "firing", "b": "error"}
    assert httpx.get(f"{client.url}/healthz").json()["status"] == "degraded"
