"""Which firing alerts are not told, and why: silences, and causes that explain them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from taximeter_alerts.rules.book import Rule
from taximeter_alerts.rules.defaults import OWN_RULES

Labels = Mapping[str, str | None]
FAILURES_OF_CALLS: Final = ("error_rate", "call_error_rate", "logical_call_error_rate")
"""Metrics of an agent that a provider's outage explains."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A firing alert that explains others."""

    rule: Rule
    labels: Labels
    agents: tuple[str, ...] = ()


def is_cause(rule: Rule) -> bool:
    """Return whether alerts of this rule can explain others: an outage, or silence."""
    return rule.min_agents is not None or rule.is_silent


def explained_by(rule: Rule, labels: Labels, causes: Iterable[Cause]) -> str | None:
    """Return the name of the rule whose alert makes this one superfluous, None if there is none.

    A provider that fails several agents explains their failures; an agent that went quiet
    explains all else about it. Nothing in the traffic explains what is wrong with alerting itself,
    or makes spent money unspent.
    """
    if rule in OWN_RULES or rule.budget is not None:
        return None
    for cause in causes:
        if cause.rule.is_silent:
            is_wider = len(cause.labels) < len(labels) or not rule.is_silent
            is_inside = all(labels.get(name) == value for name, value in cause.labels.items())
            if is_wider and is_inside and cause.rule.name != rule.name:
                return cause.rule.name
        elif rule.watch in FAILURES_OF_CALLS and labels.get("agent_name") in cause.agents:
            return cause.rule.name
    return None


def matches(matchers: Mapping[str, str], rule: Rule, labels: Labels) -> bool:
    """Return whether a silence covers this alert: all its matchers must hold.

    The rule of a budget's level is the budget's, or the level's own name.
    """
    names = (rule.name, rule.written_name)
    return bool(matchers) and all(
        value in names if name == "rule" else labels.get(name) == value
        for name, value in matchers.items()
    )


def silenced_by(silences: Iterable[Mapping[str, Any]], rule: Rule, labels: Labels) -> list[str]:
    """Return the ids of the silences that cover this alert."""
    return [silence["id"] for silence in silences if matches(silence["matchers"], rule, labels)]
