"""A budget in alerts.yaml: its keys in, one rule a level out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, get_args

import yaml

from taximeter_alerts.amounts import parse_amount
from taximeter_alerts.rules.book import Budget, Condition, Period, Rule
from taximeter_alerts.rules.receivers_file import read_zone
from taximeter_alerts.rules.yaml_nodes import Nodes

BUDGET_KEYS: Final = ("at", "zone", "on_exhausted")
HOW: Final = "budget $100 per day (or week, or month)"
_DEFAULT_LEVELS: Final = ("80%", "100%", "forecast")
_FOREIGN: Final = (
    "over", "for", "keep_firing_for", "sensitivity", "no_data", "at_least", "critical", "group_by",
)  # fmt: skip
_MOST: Final = 10.0
_UNREAD: Final[tuple[str, float, Period]] = ("$1", 1.0, "day")


def read_budget(nodes: Nodes, keys: Mapping[str, yaml.Node], rule: Rule) -> list[Rule]:
    """Return the rules of a budget; `rule` holds what all of them share."""
    if rule.watch != "cost_usd":
        nodes.fault(keys["watch"], "a budget watches cost_usd")
    for key in _FOREIGN:
        if key in keys:
            nodes.fault(keys[key], "a budget has no such key; leave it out")
    written, amount, period = nodes.value(keys["when"], _amount, _UNREAD)
    on_exhausted = nodes.choice(keys.get("on_exhausted"), ("notify", "stop"), "notify")
    zone = read_zone(nodes, keys.get("zone"))
    budget = Budget(rule.name, amount, period, zone, on_exhausted, rule.where)
    of = f"{written} per {period}"
    levels = [_level(nodes, node, of) for node in nodes.one_or_more(keys.get("at"))]
    if "at" in keys and not levels and isinstance(keys["at"], yaml.SequenceNode):
        nodes.fault(keys["at"], f"name at least one level, as [{', '.join(_DEFAULT_LEVELS)}]")
    if not any(levels):  # one with a fault has a name all the same
        levels = [_condition(text, of) for text in _DEFAULT_LEVELS]
    found = [_rule(rule, budget, level, "severity" in keys) for level in levels if level]
    for twice in {a.name for i, a in enumerate(found) if any(a.name == b.name for b in found[:i])}:
        nodes.fault(keys["at"], f"{twice!r} is given twice")
    return found


def _rule(rule: Rule, budget: Budget, level: Condition, is_severity_given: bool) -> Rule:
    name = f"{rule.name} {level.text.partition(' of ')[0]}"
    severity = rule.severity
    if level.kind == "budget" and level.limit >= 1 and not is_severity_given:
        severity = "critical"
    # What is spent stays spent: only a new period ends it. A forecast and a pace can change.
    keep = timedelta(0) if level.kind == "budget" else rule.keep_firing_for
    title = f"budget {rule.name}: {level.text}"
    return replace(
        rule, name=name, condition=level, budget=budget, severity=severity, keep_firing_for=keep,
        title=title,
    )  # fmt: skip


def _amount(when: str) -> tuple[str, float, Period]:
    """Return an amount as written and in USD, and its period. Raises ValueError."""
    words = when.split()
    periods: dict[str, Period] = {period: period for period in get_args(Period)}
    is_read = len(words) == 4 and (words[0], words[2]) == ("budget", "per")
    if not is_read or words[3] not in periods:
        raise ValueError(f"cannot read {when!r}; write {HOW}")
    usd = parse_amount(words[1], "USD")
    if usd <= 0:
        raise ValueError("a budget is more than $0")
    return words[1], usd, periods[words[3]]


def _level(nodes: Nodes, node: yaml.Node, of: str) -> Condition | None:
    text = nodes.text(node)
    try:
        return _condition(text, of)
    except ValueError:
        nodes.fault(node, f"cannot read {text!r}; a level is 80%, forecast or burning 5%")
        return None


def _condition(text: str, of: str) -> Condition:
    """Return the condition of a level: `80%`, `forecast`, `burning 5%`. Raises ValueError."""
    words = text.split()
    if words == ["forecast"]:
        return Condition("forecast", 1.0, f"forecast of {of}")
    if len(words) == 2 and words[0] == "burning":
        return Condition("pace", _share(words[1], 1.0), f"burning {words[1]} of {of} in an hour")
    if len(words) != 1:
        raise ValueError(text)
    return Condition("budget", _share(words[0], _MOST), f"{words[0]} of {of}")


def _share(text: str, most: float) -> float:
    share = parse_amount(text, "ratio") if text.endswith("%") else 0.0
    if not 0 < share <= most:
        raise ValueError(text)
    return share
