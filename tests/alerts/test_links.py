"""A notice leads to the page with the evidence: what the alert says and what the page reads agree."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs, urlsplit

import pytest

from taximeter_alerts.outbox.notice import dashboard_link
from taximeter_alerts.rules.book import Condition, Rule

_AT = datetime(2026, 11, 20, 14, tzinfo=UTC)


@pytest.mark.parametrize(
    ("watch", "shown"),
    [
        ("error_rate", {"failed": ["request"], "agent": ["a"]}),
        ("call_error_rate", {"failed": ["call"], "by_agent": ["a"], "model": ["m"]}),
        ("logical_call_error_rate", {"failed": ["call"], "by_agent": ["a"], "model": ["m"]}),
        ("latency_p95_seconds", {"sort": ["-duration"], "agent": ["a"]}),
    ],
)
def test_the_link_shows_the_requests_that_failed(watch: str, shown: dict[str, list[str]]) -> None:
    """Of any metric of failures: a page of all requests shows none of them."""
    labels = {"agent_name": "a"} | ({"model": "m"} if "call" in watch else {})
    rule = Rule("r", watch, Condition("above", 0.1))
    link = dashboard_link("http://d/", rule, labels, _AT, _AT)
    assert link is not None and link.startswith("http://d/requests?")
    asked = parse_qs(urlsplit(link).query)
    assert {name: asked[name] for name in asked if name not in ("start", "end")} == shown
