"""PUT and GET /v1/budgets: who may, what is kept, how old it says that it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from taximeter_collector.client import QueryError, ReadClient
from taximeter_collector.receivers.budgets import Budgets

from .conftest import Edges, Start

STOP: dict[str, Any] = {
    "budget": "tenants", "where": {"agent_name": ["research"]}, "labels": {"tenant": "acme"},
    "amount_usd": 50.0, "used_usd": 50.4, "period": "day",
    "period_end": "2026-11-27T00:00:00Z", "ends_after_s": 4980.0,
}  # fmt: skip
SAID: dict[str, Any] = {
    "as_of": "2026-11-26T22:37:00Z", "age_s": 71.2, "stale_after_s": 435.0, "stops": [STOP],
}  # fmt: skip


def test_nothing_is_known_before_alerts_has_said_anything(edges: Edges) -> None:
    status, headers, body = edges.ask("GET", "/v1/budgets")
    assert (status, "age" in headers) == (200, False)
    assert json.loads(body) == {"as_of": None, "stale_after_s": 0.0, "stops": []}


def test_what_alerts_says_is_told_with_its_age(edges: Edges) -> None:
    ReadClient(edges.url).publish_budgets(SAID)
    status, headers, body = edges.ask("GET", "/v1/budgets")
    assert (status, headers["age"], headers["cache-control"]) == (200, "72", "no-store")
    assert json.loads(body) == {name: SAID[name] for name in ("as_of", "stale_after_s", "stops")}


def test_what_stops_the_same_calls_is_sent_once(edges: Edges) -> None:
    """A minute later only its times have changed: that is told without a body."""
    client = ReadClient(edges.url)
    client.publish_budgets(SAID)
    etag = edges.ask("GET", "/v1/budgets")[1]["etag"]
    later = {**SAID, "as_of": "later", "age_s": 60.5, "stops": [{**STOP, "ends_after_s": 4920.0}]}
    client.publish_budgets(later)
    status, headers, body = edges.ask("GET", "/v1/budgets", headers={"If-None-Match": etag})
    assert (status, headers["age"], body) == (304, "61", b"")
    client.publish_budgets({**later, "stops": []})
    status, _, body = edges.ask("GET", "/v1/budgets", headers={"If-None-Match": etag})
    assert (status, json.loads(body)["stops"]) == (200, [])


def test_an_answer_grows_old_by_our_own_clock() -> None:
    seconds = [100.0]
    budgets = Budgets(lambda: seconds[0])
    budgets.publish(SAID)
    seconds[0] += 600.2
    assert budgets.response("").headers["age"] == "672"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"stops": None}, "stops must be a list"),
        ({"stops": [STOP] * 10_001}, "stops must be a list of at most 10,000"),
        ({"age_s": -1}, "age_s must be a number, 0 or more"),
        ({"stale_after_s": "soon"}, "stale_after_s must be a number, 0 or more"),
        ({"stops": [{**STOP, "labels": [1]}]}, "not an object where one belongs"),
        ({"stops": [{**STOP, "where": {"agent_name": "a"}}]}, "where must give lists of texts"),
    ],
)
def test_what_agents_could_not_read_is_refused(
    edges: Edges, changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(QueryError, match=said) as caught:
        ReadClient(edges.url).publish_budgets({**SAID, **changed})
    assert caught.value.status == 400
    assert json.loads(edges.ask("GET", "/v1/budgets")[2])["as_of"] is None


def test_a_publication_has_a_largest_size(edges: Edges) -> None:
    with pytest.raises(QueryError, match="at most 4 MiB"):
        ReadClient(edges.url).publish_budgets({**SAID, "more": "x" * (5 << 20)})


def test_who_sends_may_ask_and_only_who_reads_may_publish(start_edges: Start) -> None:
    edges = start_edges(TAXIMETER_INGEST_TOKEN="sends", TAXIMETER_QUERY_TOKEN="reads")

    def asked(method: str, token: str) -> int:
        body = json.dumps(SAID).encode() if method == "PUT" else None
        return edges.ask(method, "/v1/budgets", body, {"Authorization": f"Bearer {token}"})[0]

    by_token = {
        token: (asked("PUT", token), asked("GET", token)) for token in ("sends", "reads", "x")
    }
    assert by_token == {"sends": (401, 200), "reads": (200, 200), "x": (401, 401)}


def test_a_page_that_names_us_otherwise_gets_nothing(edges: Edges) -> None:
    for method in ("GET", "PUT"):
        assert edges.ask(method, "/v1/budgets", None, {"Host": "evil.example"})[0] == 403
