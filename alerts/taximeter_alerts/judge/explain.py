"""One sentence that says why an alert fires: rule and verdict in, text out. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from taximeter_alerts.amounts import say_amount, say_duration
from taximeter_alerts.judge.detect import HISTORY_DAYS, Verdict, days_outside
from taximeter_alerts.rules.book import LOOPS, Rule

_TITLES = {
    "cost_per_request_usd": "cost per request",
    "cost_per_success_usd": "cost per success",
    "request_cost_max_usd": "dearest request",
    "cost_usd": "spend",
    "error_rate": "error rate",
    "tool_error_rate": "tool error rate",
    "call_error_rate": "model call error rate",
    "loop_length_mean": "loop length",
    "cache_hit_ratio": "cache-hit ratio",
}
_CALL_METRICS = ("call_error_rate", "retry_rate", "ttft_p95_seconds", "cache_hit_ratio")


def metric_title(name: str) -> str:
    """Return a metric's name for people.

    >>> metric_title("latency_p95_seconds")
    'latency p95'
    """
    return _TITLES.get(name) or name.removesuffix("_seconds").removesuffix("_usd").replace("_", " ")


def group_title(labels: Mapping[str, str | None]) -> str:
    """Return a group's name for people.

    >>> group_title({"agent_name": "support", "model": None}), group_title({})
    ('support / no model', 'everything')
    """
    names = [
        value if value is not None else f"no {name.removesuffix('_name')}"
        for name, value in labels.items()
    ]
    return " / ".join(names) or "everything"


def subject(rule: Rule, labels: Mapping[str, str | None]) -> str:
    """Return whom a rule watches in a group: what `where` narrows it to, and the group."""
    narrowed = {name: " or ".join(values) for name, values in rule.where if name not in labels}
    return group_title(narrowed | dict(labels))


def explain(rule: Rule, labels: Mapping[str, str | None], verdict: Verdict) -> str:
    """Return the sentence for a verdict."""
    who = subject(rule, labels)
    what = metric_title(rule.watch)
    if verdict.outcome == "learning":
        return f"{who}: {what}: learning, {verdict.days} of {HISTORY_DAYS} days."
    if rule.is_silent and verdict.value is not None:
        return f"{who}: {_quiet(verdict)}"
    if verdict.outcome == "no_data" and rule.no_data == "alert":
        return f"{who}: {what}: no traffic at all, which this rule does not accept."
    if verdict.value is None or verdict.window_s is None:
        return f"{who}: {what}: not enough traffic to judge."
    value = say_amount(verdict.value, rule.metric.unit)
    if rule.is_spike_of_one:
        return f"{who}: {_one(verdict, value)}"
    parts = [f"{who}: {what} {value}{_against(rule, verdict)}.", _evidence(rule, verdict)]
    if verdict.priced_ratio is not None and verdict.priced_ratio < 0.995:
        parts.append(
            f"Only {say_amount(verdict.priced_ratio, 'ratio')} of the tokens have a price."
        )
    return " ".join(parts)


def _quiet(verdict: Verdict) -> str:
    count = verdict.value or 0.0
    told = f"{count:,.0f} requests" if count else "no request"
    told += f" in the last {say_duration(verdict.window_s or 3_600)}"
    if verdict.usual is None:
        return f"{told}."
    others = f"{verdict.days - 1} of the last {verdict.days} such days"
    return f"{told}; at this hour {others} had at least {verdict.usual:,.0f} an hour."


def _one(verdict: Verdict, value: str) -> str:
    count = f"{verdict.count:,.0f} request{'' if verdict.count == 1 else 's'}"
    told = f"one request cost {value}"
    if verdict.usual is not None:
        days = f"on {verdict.days - 2} of the last {verdict.days} days"
        told += f", {_times(verdict)}the {say_amount(verdict.usual, 'USD')} that none passed {days}"
    return f"{told}. The dearest of {count} in the last {say_duration(verdict.window_s or 3_600)}."


def _against(rule: Rule, verdict: Verdict) -> str:
    unit = rule.metric.unit
    if rule.condition.kind == "burning":
        may_fail = say_amount(verdict.usual or 0.0, unit)
        return f", {verdict.overshoot or 0.0:.1f}x the {may_fail} that may fail"
    if rule.condition.kind not in ("spike", "drop"):
        limit = say_amount(rule.condition.limit, unit)
        side = rule.condition.kind
        return f", {side} {limit}" if verdict.outcome == "breach" else f" (alert {side} {limit})"
    if verdict.is_guard or verdict.usual is None:
        known = f"learning, {verdict.days} of {HISTORY_DAYS} days"
        return f"; half or more fail while usual is not known yet ({known})"
    usual = say_amount(verdict.usual, unit)
    times = _times(verdict)
    if rule.is_rate or verdict.high is None:
        return f", {times}the usual {usual} of {_days(verdict.days)}"
    when = " at this hour" if verdict.is_this_hour else ""
    high = say_amount(verdict.high, unit)
    end = "above" if rule.is_drop else "under"
    if verdict.days < 2:
        return f", {times}the usual {usual}{when}; learned from {_days(verdict.days)}"
    return (
        f", {times}the usual {usual}{when};"
        f" {verdict.days - days_outside(verdict.days)} of the last {_days(verdict.days)} stayed {end} {high}"
    )


def _times(verdict: Verdict) -> str:
    if verdict.value is None or not verdict.usual:
        return "against "
    return f"{verdict.value / verdict.usual:.1f}x "


def _days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _evidence(rule: Rule, verdict: Verdict) -> str:
    assert verdict.window_s is not None
    noun = "call" if rule.watch in _CALL_METRICS else "request"
    if rule.watch == "tool_error_rate":
        noun = "tool call"
    count = f"{verdict.count:,.0f} {noun}{'' if verdict.count == 1 else 's'}"
    span = f"in the last {say_duration(verdict.window_s)}"
    if rule.is_rate:
        agents = f" in {len(verdict.agents)} agents: {', '.join(verdict.agents[:5])}"
        whose = agents if verdict.agents else ""
        return f"{verdict.failures:,.0f} of {count} failed {span}{whose}."
    if verdict.extra_usd is not None and verdict.extra_usd > 0 and rule.watch not in _CALL_METRICS:
        extra = say_amount(verdict.extra_usd, "USD")
        more = "" if rule.watch not in LOOPS else " in model calls"
        return f"{count} {span}, about {extra} extra{more}."
    return f"{count} {span}."
