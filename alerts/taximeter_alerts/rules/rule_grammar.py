"""The closed grammar of one rule in alerts.yaml: nodes in, a Rule out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import yaml

from taximeter_alerts.amounts import parse_amount, parse_count, parse_duration
from taximeter_alerts.rules.book import RATES, WINDOWS_S, Condition, Rule, names_of
from taximeter_alerts.rules.budget_grammar import BUDGET_KEYS, HOW, read_budget
from taximeter_alerts.rules.condition_grammar import kind_meant, read_condition
from taximeter_alerts.rules.yaml_nodes import Nodes
from taximeter_collector.metrics import DIMENSIONS, METRICS

RULE_KEYS: Final = (
    "name", "watch", "by", "where", "when", "critical", "over", "for", "keep_firing_for",
    "at_least", "no_data", "severity", "sensitivity", "notify", "group_by", "repeat_interval",
    *BUDGET_KEYS,
)  # fmt: skip
_INSTEAD: Final = {"budget": f"; write when: {HOW}"}
_RULE: Final = "{name: dear, watch: cost_per_request_usd, when: spike 2x}"
_NOTHING: Final = Condition("above", float("inf"))


def read_rules(nodes: Nodes, node: yaml.Node | None, receivers: set[str]) -> list[Rule]:
    """Return the rules of a list; a name is given once."""
    rules: list[Rule] = []
    taken: set[str] = set()
    for item in nodes.sequence(node):
        keys = nodes.mapping(item, RULE_KEYS, _rule_name(item), example=_RULE, instead=_INSTEAD)
        found = _Grammar(nodes, keys).rules(item, receivers)
        names = names_of(found)
        if "name" in keys and not taken.isdisjoint(names):
            nodes.fault(keys["name"], "there is a rule of this name already")
        taken.update(names)
        rules += found
        nodes.context = ""
    return rules


def _rule_name(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if getattr(key, "value", None) == "name" and isinstance(value, yaml.ScalarNode):
                return f"rule {value.value}: "
    return "rule without a name: "


class _Grammar:
    """One rule's keys."""

    def __init__(self, nodes: Nodes, keys: dict[str, yaml.Node]) -> None:
        self._nodes, self._keys = nodes, keys
        self._is_clear = True
        """What it watches and when is known; else nothing is said of what goes with that."""

    def rules(self, node: yaml.Node, receivers: set[str]) -> list[Rule]:
        """Return the rule; a budget is one a level. One with faults is read to its end."""
        nodes, keys = self._nodes, self._keys
        nodes.missing(node, keys, "name", "watch", "when")
        watch = nodes.known(keys["watch"], METRICS, "metric") if "watch" in keys else None
        allowed = METRICS[watch].dimensions if watch else DIMENSIONS
        is_budget = "when" in keys and kind_meant(str(keys["when"].value)) == "budget"
        by = self._names("by", allowed, "dimension") or ()
        rule = Rule(
            name=nodes.text(keys["name"]) if "name" in keys else "",
            watch=watch or "cost_usd",
            condition=_NOTHING if is_budget else self._condition("when", watch),
            by=by,
            where=self._where(allowed),
            over_s=self._over(),
            hold_for=self._duration("for", None),
            keep_firing_for=self._duration("keep_firing_for", timedelta(minutes=15)),
            no_data=nodes.choice(keys.get("no_data"), ("keep", "alert", "ok"), "keep"),
            severity=nodes.choice(keys.get("severity"), ("info", "warning", "critical"), "warning"),
            sensitivity=nodes.choice(keys.get("sensitivity"), ("low", "normal", "high"), "normal"),
            notify=self._names("notify", tuple(sorted(receivers)), "receiver"),
            group_by=self._names("group_by", ("rule", *by), "label"),
            repeat_interval=self._repeat_interval(),
        )
        if is_budget:
            return read_budget(nodes, keys, rule)
        return [self._checked(self._at_least(self._with_critical(rule, watch)))]

    def _condition(self, key: str, watch: str | None) -> Condition:
        found = read_condition(self._nodes, self._keys[key], watch) if key in self._keys else None
        self._is_clear &= found is not None
        return found or _NOTHING

    def _clash(self, node: yaml.Node, message: str) -> None:
        """Say that a key does not go with what the rule watches, or when."""
        if self._is_clear:
            self._nodes.fault(node, message)

    def _checked(self, rule: Rule) -> Rule:
        """Say which keys do not go together."""
        kind, keys = rule.condition.kind, self._keys
        for key in BUDGET_KEYS:
            if key in keys:
                self._clash(keys[key], f"belongs to a budget: when: {HOW}")
        if "over" in keys and kind in ("spike", "drop", "silent", "burning"):
            self._clash(keys["over"], f"a {kind} picks its own window; leave it out")
        if "sensitivity" in keys and not rule.has_sensitivity:
            self._clash(keys["sensitivity"], "only a spike or drop of many requests has one")
        if "no_data" in keys and kind == "silent":
            self._clash(keys["no_data"], "'silent' is about having no data; leave it out")
        return rule

    def _with_critical(self, rule: Rule, watch: str | None) -> Rule:
        node = self._keys.get("critical")
        if node is None:
            return rule
        critical = self._condition("critical", watch)
        if rule.condition.kind == "burning":
            self._clash(node, "'burning' has no second level; leave it out")
        elif critical.kind != rule.condition.kind:
            self._clash(node, f"must be of the kind of 'when': {rule.condition.kind}")
        elif _is_easier(critical, rule.condition):
            self._clash(node, "must be further out than 'when'")
        if rule.severity == "critical":
            self._nodes.fault(node, "'severity' is critical already; leave one of the two out")
        return replace(rule, critical=critical)

    def _names(self, key: str, allowed: tuple[str, ...], noun: str) -> tuple[str, ...] | None:
        node = self._keys.get(key)
        if node is None:
            return None
        items = self._nodes.one_or_more(node)
        found = [self._nodes.known(item, allowed, noun) for item in items]
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def _where(self, allowed: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
        nodes = self._nodes
        keys = nodes.mapping(self._keys.get("where"), allowed, noun="dimension")
        return tuple((name, nodes.texts(value)) for name, value in sorted(keys.items()))

    def _duration(self, key: str, default: timedelta | None) -> Any:
        return self._nodes.value(self._keys.get(key), parse_duration, default)

    def _repeat_interval(self) -> timedelta | None:
        interval: timedelta | None = self._duration("repeat_interval", None)
        if interval is not None and timedelta(0) < interval < timedelta(minutes=5):
            self._nodes.fault(self._keys["repeat_interval"], "must be 0s (never) or at least 5m")
        return interval

    def _over(self) -> int:
        seconds = int(self._duration("over", timedelta(minutes=15)).total_seconds())
        if seconds not in WINDOWS_S:
            self._nodes.fault(self._keys["over"], "must be one of: 5m, 15m, 1h, 6h, 24h")
        return seconds

    def _at_least(self, rule: Rule) -> Rule:
        node = self._keys.get("at_least")
        if node is None:
            return rule
        nodes = self._nodes
        keys = nodes.mapping(node, ("requests", "errors", "agents", "impact"))
        if "requests" in keys:
            rule = replace(rule, min_requests=nodes.value(keys["requests"], parse_count, 1))
        if "errors" in keys:
            if rule.watch not in RATES:
                self._clash(keys["errors"], f"needs watch: one of {', '.join(RATES)}")
            rule = replace(rule, min_errors=nodes.value(keys["errors"], parse_count, 1))
        if "agents" in keys:
            if rule.watch not in RATES or "agent_name" in rule.by:
                needs = f"needs watch: one of {', '.join(RATES)}, not by agent_name"
                self._clash(keys["agents"], needs)
            rule = replace(rule, min_agents=nodes.value(keys["agents"], parse_count, 1))
        if "impact" in keys:
            if rule.condition.kind not in ("spike", "drop") or rule.is_rate:
                self._clash(keys["impact"], "needs a spike or drop of a cost, loop or latency")
            impact = nodes.value(keys["impact"], lambda text: parse_amount(text, "USD"), 0.0)
            rule = replace(rule, min_impact_usd=impact)
        return rule


def _is_easier(critical: Condition, when: Condition) -> bool:
    if critical.kind == "silent":
        return (critical.limit or 3_600) <= (when.limit or 3_600)
    if critical.kind == "below":
        return critical.limit >= when.limit
    return critical.limit <= when.limit
