"""A budget in alerts.yaml: its keys in, one rule a level out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, get_args

import yaml

from taximeter_alerts.amounts import parse_amount
from taximeter_alerts.receivers_file import read_zone
from taximeter_alerts.rules import Budget, Condition, Period, Rule
from taximeter_alerts.yaml_nodes import Nodes

BUDGET_KEYS: Final = ("at", "zone", "on_exhausted")
HOW: Final = "budget $100 per day (or week, or month)"
_DEFAULT_LEVELS: Final = ("80%", "100%", "forecast")
_FOREIGN: Final = (
    "over", "for", "keep_firing_for", "sensitivity", "no_data", "at_least", "critical", "group_by",
)  # fmt: skip
_MOST: Final = 10.0


def read_budget(nodes: Nodes, keys: Mapping[str, yaml.Node], rule: Rule) -> list[Rule]:
    """Return the rules of a budget; `rule` holds what all of them share."""
    words = nodes.text(keys["when"]).split()
    if rule.watch != "cost_usd":
        nodes.fault(keys["watch"], "a budget needs watch: cost_usd")
    for key in _FOREIGN:
        if key in keys:
            nodes.fault(keys[key], f"a budget has no {key!r}; leave it out")
    if len(words) != 4 or words[2] != "per" or words[3] not in get_args(Period):
        nodes.fault(keys["when"], f"cannot read {' '.join(words)!r}; write {HOW}")
        return []
    amount = nodes.value(keys["when"], lambda _: parse_amount(words[1], "USD"), 1.0)
    if amount <= 0:
        nodes.fault(keys["when"], "a budget is more than $0")
    period: Period = nodes.choice(None, (), words[3])
    on_exhausted = nodes.choice(keys.get("on_exhausted"), ("notify", "stop"), "notify")
    budget = Budget(rule.name, amount, period, read_zone(nodes, keys.get("zone")), on_exhausted)
    of = f"{words[1]} per {period}"
    levels = [_level(nodes, node, of) for node in _nodes(nodes, keys.get("at"))]
    if "at" not in keys:
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


def _nodes(nodes: Nodes, node: yaml.Node | None) -> list[yaml.Node]:
    return [node] if isinstance(node, yaml.ScalarNode) else nodes.sequence(node)


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
