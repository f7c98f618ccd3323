"""What a notice says of the cause: rows in the store in, lines and messages out."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from tests.alerts.conftest import Clock, MemoryStore

from taximeter_alerts.judge.cause import Cause, read_cause
from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.notifiers.email import mail_message
from taximeter_alerts.notifiers.pagerduty import pagerduty_event
from taximeter_alerts.notifiers.slack import slack_message
from taximeter_alerts.notifiers.teams import teams_message
from taximeter_alerts.notifiers.webhook import webhook_body
from taximeter_alerts.outbox.notice import Example, Notice, read_notice, request_link
from taximeter_alerts.rules.book import Rule
from taximeter_alerts.rules.defaults import default_rules

RULES = {rule.name: rule for rule in default_rules()}
VERDICT = Verdict("breach", 0.9, 3_600, 20)
AGENT: dict[str, str | None] = {"agent_name": "support"}


def calls(at: datetime, number: int, version: str, output: int = 100) -> list[dict[str, Any]]:
    """Return calls of 100 output tokens at $10 a million tokens, without a prompt."""
    row = {
        "start_time": at, "agent_name": "support", "agent_version": version, "provider": "openai",
        "model": "m", "is_billed": True, "output_tokens": output, "uncached_input_tokens": 0,
        "cost_pico": output * 10_000_000, "output_cost_pico": output * 10_000_000,
        "input_cost_pico": 0, "total_tokens": output,
    }  # fmt: skip
    return [{**row, "trace_id": f"{at}{version}{i}", "span_id": f"s{i}"} for i in range(number)]


def request(at: datetime, id: str, **values: Any) -> dict[str, Any]:
    return {"request_id": id, "start_time": at, "agent_name": "support", **values}


@pytest.fixture
def now(clock: Clock) -> datetime:
    return clock.now.replace(second=0)


def cause(store: MemoryStore, rule: Rule, now: datetime) -> Cause:
    return read_cause(store, rule, AGENT, VERDICT, now)


def test_cost_is_cut_into_factors_by_the_hour_and_laid_at_the_version(
    store: MemoryStore, now: datetime
) -> None:
    """24 requests of 2 calls in the day before; 1 request of 40 calls in the last hour."""
    for hour in range(24):
        at = now - timedelta(hours=2 + hour) + timedelta(minutes=1)
        store.add_minutes("support", at, 1, requests=1)
        store.add_rows("call", calls(at, 2, "1.0"))
    at = now - timedelta(minutes=30)
    store.add_minutes("support", at, 1, requests=1)
    store.add_rows("call", calls(at, 40, "1.1"))
    store.add_rows(
        "request",
        [
            request(at, f"r{i}", cost_pico=i * 10**10, loop_length=i, duration_ms=i * 1_000.0)
            for i in (10, 40, 20, 30)
        ],
    )
    found = cause(store, RULES["cost-per-request"], now)
    assert found.lines == (
        "Spend $0.04 an hour, +$0.038 against the 24 h before: calls per request +$0.038.",
        "More than all of the change: version 1.1, not seen before.",
    )
    assert found.usd_per_hour == pytest.approx(0.038)
    assert found.first == (
        "Roll version 1.1 back if you can."
        " Open the first example: where its calls repeat, limit the steps (guards)."
    )
    assert [(e.request_id, e.text) for e in found.examples] == [
        ("r40", "$0.40, 40 steps, 40 s"),
        ("r30", "$0.30, 30 steps, 30 s"),
        ("r20", "$0.20, 20 steps, 20 s"),
    ]


def test_the_pace_is_that_of_now_not_of_an_hour_that_was_mostly_usual(
    store: MemoryStore, now: datetime
) -> None:
    """60 requests of a call an hour; since ten minutes ago they have ten. None of it is in the day before."""
    begun = now - timedelta(minutes=10)
    store.add_minutes("support", now - timedelta(hours=25), 25 * 60, requests=1)
    for minute in range(25 * 60):
        at = now - timedelta(hours=25) + timedelta(minutes=minute)
        store.add_rows("call", calls(at, 10 if at >= begun else 1, "1.0"))
    # The newest quarter has 5 usual calls and 100; an hour like it has 420, and the usual one 60.
    found = cause(store, RULES["cost-per-request"], now)
    assert found.lines[0].startswith("Spend $0.42 an hour, +$0.36 against the 24 h before:")
    assert found.usd_per_hour == pytest.approx(0.36)


def test_failures_are_told_by_class_and_tool_with_what_was_spent_on_them(
    store: MemoryStore, now: datetime
) -> None:
    at = now - timedelta(minutes=10)
    failed = {"is_error": True, "error_class": "rate_limit", "cost_pico": 5 * 10**11}
    store.add_rows("request", [request(at, f"f{i}", **failed) for i in range(4)])
    store.add_rows("request", [request(at, "t", is_error=True, error_class="timeout")])
    store.add_rows("request", [request(at, "fine", is_error=False, cost_pico=9 * 10**12)])
    store.add_rows("request", [request(now - timedelta(hours=3), "old", **failed)])
    tool = {
        "trace_id": "t", "start_time": at, "agent_name": "support", "tool_name": "search",
        "is_error": True, "error_class": "timeout",
    }  # fmt: skip
    store.add_rows("tool_call", [{**tool, "span_id": str(i)} for i in range(3)])
    found = cause(store, RULES["error-rate"], now)
    assert found.lines == (
        "Failed requests by class: 4 rate_limit, 1 timeout.",
        "Failed tools: search 3 timeout.",
    )
    assert found.usd_per_hour == pytest.approx(2.0)
    assert len(found.examples) == 3
    assert "fine" not in [example.request_id for example in found.examples]
    by_tool = replace(RULES["tool-errors"], by=("agent_name", "tool_name"))
    other = read_cause(store, by_tool, {**AGENT, "tool_name": "pay"}, VERDICT, now)
    assert (other.lines, other.examples) == ((), ())


def test_failures_by_a_budget_that_is_used_up_are_told_as_that(
    store: MemoryStore, now: datetime
) -> None:
    """A fleet that is stopped fails for no reason of its own."""
    at = now - timedelta(minutes=10)
    stopped = {"is_error": True, "error_class": "internal", "termination_reason": "cost_budget"}
    store.add_rows("request", [request(at, f"s{i}", **stopped) for i in range(3)])
    failed = {"is_error": True, "error_class": "internal", "termination_reason": "error"}
    store.add_rows("request", [request(at, "f", **failed)])
    found = cause(store, RULES["error-rate"], now)
    assert found.lines == ("Failed requests by class: 3 ended by cost budget, 1 internal.",)


def test_a_tool_is_explained_by_the_requests_in_which_it_failed(
    store: MemoryStore, now: datetime
) -> None:
    """Its agent may be a sub-agent, whose requests are another agent's."""
    at = now - timedelta(minutes=10)
    values = {"is_error": True, "error_class": "timeout", "cost_pico": 10**12}
    store.add_rows("request", [request(at, id, **values) for id in ("searched", "else")])
    tool = {
        "span_id": "s", "start_time": at, "agent_name": "searcher", "tool_name": "search",
        "is_error": True, "error_class": "tool",
    }  # fmt: skip
    store.add_rows("tool_call", [{**tool, "trace_id": "searched"}])
    store.add_rows("tool_call", [{**tool, "trace_id": "else", "is_error": False}])
    labels: dict[str, str | None] = {"agent_name": "searcher", "tool_name": "search"}
    found = read_cause(store, RULES["tool-errors"], labels, VERDICT, now)
    assert found.lines == (
        "Failed tools: search 1.",
        "Failed requests by class: 1 timeout.",
    )
    assert [example.request_id for example in found.examples] == ["searched"]
    assert found.usd_per_hour == pytest.approx(1.0)


def test_what_counts_as_failed_is_what_the_metrics_count(store: MemoryStore, now: datetime) -> None:
    """It named cancelled calls, second spans of one call, and sub-agents as failed."""
    at = now - timedelta(minutes=10)
    store.add_rows("request", [request(at, id, is_error=True, error_class="x") for id in "abcd"])
    (call,) = calls(at, 1, "1.0")
    told: tuple[dict[str, Any], ...] = (
        {"trace_id": "a", "status": "error", "error_class": "provider"},
        {"trace_id": "b", "status": "error", "error_class": "provider", "is_billed": False},
        {"trace_id": "c", "status": "cancelled", "error_class": "internal"},
    )
    store.add_rows("call", [{**call, "error_type": "E", **values} for values in told])
    tool = {"span_id": "s", "start_time": at, "agent_name": "support", "is_error": True}
    store.add_rows("tool_call", [{**tool, "trace_id": "a", "tool_name": "search"}])
    delegation = {"tool_name": "researcher", "is_delegation": True}
    store.add_rows("tool_call", [{**tool, "trace_id": "d", **delegation}])
    found = cause(store, RULES["error-rate"], now)
    assert found.lines[1:] == (
        "Failed tools: search 1 unknown.",
        "Failed model calls: openai/m 1 provider.",
    )
    labels: dict[str, str | None] = {"provider": "openai", "model": "m"}
    outage = read_cause(store, RULES["provider-outage"], labels, VERDICT, now)
    assert [example.request_id for example in outage.examples] == ["a"]


def test_a_loop_is_told_by_version_and_by_the_call_that_repeats(
    store: MemoryStore, now: datetime
) -> None:
    at = now - timedelta(minutes=10)
    tool = {"trace_id": "t", "start_time": at, "agent_name": "support", "tool_name": "web_search"}
    for i in range(5):
        store.add_rows("tool_call", [{**tool, "span_id": str(i), "is_repeat": i > 0}])
    minute = {"agent_name": "support", "requests": 1, "loop_length_requests": 1}
    rows = ((now - timedelta(hours=5), "2.4", 3), (at, "2.4", 4), (at, "2.5", 20))
    for moment, version, steps in rows:
        store.add_rows(
            "usage_minute",
            [{**minute, "minute": moment, "agent_version": version, "loop_length_sum": steps}],
        )
    store.add_rows("request", [request(at, "a", loop_length=4), request(at, "b", loop_length=20)])
    found = cause(store, RULES["loop-length"], now)
    assert found.lines == (
        found.lines[0],
        "4 of 5 calls of web_search repeat an earlier one with the same arguments.",
    )
    assert found.lines[0] == "By version: 2.5: 20 (not seen before); 2.4: 4 (before 3)."
    assert [example.request_id for example in found.examples] == ["b", "a"]


def test_more_requests_are_no_reason_for_a_dearer_request(
    store: MemoryStore, now: datetime
) -> None:
    for at, number, output in ((now - timedelta(hours=3), 1, 100), (now, 50, 200)):
        moment = at - timedelta(minutes=30)
        store.add_minutes("support", moment, 1, requests=number)
        store.add_rows("call", calls(moment, number, "1.0", output))
    found = cause(store, RULES["cost-per-request"], now)
    assert "requests +" in found.lines[0]
    assert found.first.startswith("Open the first example and see why it writes more")


def test_the_cause_of_what_has_no_agent_is_not_that_of_all_agents(
    store: MemoryStore, now: datetime
) -> None:
    at = now - timedelta(minutes=30)
    store.add_minutes("support", at, 1, requests=5)
    store.add_rows("call", calls(at, 5, "1.0"))
    store.add_rows("request", [request(at, "theirs", cost_pico=9 * 10**12)])
    store.add_rows("call", [{**row, "agent_name": None} for row in calls(at, 1, "2.0", 200)])
    store.add_rows("request", [{**request(at, "own", cost_pico=10**12), "agent_name": None}])
    found = read_cause(store, RULES["cost-per-request"], {"agent_name": None}, VERDICT, now)
    assert found.lines[0].startswith("Spend $0.002 an hour, +$0.002 against")
    assert [example.request_id for example in found.examples] == ["own"]


@pytest.mark.parametrize("rule", default_rules(), ids=lambda rule: rule.name)
def test_every_default_rule_has_a_cause_even_without_a_row(
    store: MemoryStore, now: datetime, rule: Rule
) -> None:
    labels: dict[str, str | None] = dict.fromkeys(rule.by, "x")
    found = read_cause(store, rule, labels, VERDICT, now)
    assert found.first and (found.lines, found.examples) == ((), ())
    assert not found.usd_per_hour


NOTICE = Notice(
    kind="firing",
    incident="i1",
    rule="cost-per-request",
    severity="warning",
    title="cost per request, support",
    sentence="support: cost per request $0.42.",
    cause=("97 % of the change: tenant <b> & co.",),
    usd_per_hour=12.3,
    first="Open the first example.",
    examples=(Example("$0.40, 40 steps", request_link("http://127.0.0.1:8501", "a&b")),),
)
LINK = "http://127.0.0.1:8501/request?id=a%26b"


def test_the_cause_is_in_every_channel_escaped_as_the_channel_needs() -> None:
    assert slack_message(NOTICE)["blocks"][2]["text"]["text"] == (
        "• 97 % of the change: tenant &lt;b&gt; &amp; co.\n"
        "• Extra cost at this pace: $12.30 an hour.\n"
        "• *First:* Open the first example.\n"
        f"• Examples: <{LINK}|$0.40, 40 steps>"
    )
    mail = mail_message(NOTICE, "k", "a@example.org", ("b@example.org",))
    text, page = (part.get_content() for part in mail.iter_parts())
    assert (
        "- 97 % of the change: tenant <b> & co.\n- Extra cost at this pace: $12.30 an hour.\n"
        f"- First: Open the first example.\n- Example: $0.40, 40 steps {LINK}\n" in text
    )
    assert "<li>97 % of the change: tenant &lt;b&gt; &amp; co.</li>" in page
    assert f'<li>Example: <a href="{LINK}">$0.40, 40 steps</a></li>' in page
    body = webhook_body(NOTICE, "k")
    assert body["cause"] == list(NOTICE.cause) and body["usd_per_hour"] == 12.3
    assert body["examples"] == [{"text": "$0.40, 40 steps", "link": LINK}]
    card = teams_message(NOTICE)["attachments"][0]["content"]
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "$0.40, 40 steps", "url": LINK}]
    assert card["body"][2]["inlines"][0]["text"] == NOTICE.cause[0]
    event = pagerduty_event(NOTICE, "trigger")
    assert event["payload"]["custom_details"]["cause"] == list(NOTICE.details)
    assert event["links"] == [{"href": LINK, "text": "$0.40, 40 steps"}]


def test_a_stored_notice_keeps_its_cause() -> None:
    assert read_notice(NOTICE.to_json()) == NOTICE
