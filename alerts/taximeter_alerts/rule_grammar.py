"""The closed grammar of one rule in alerts.yaml: nodes in, a Rule out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import yaml

from taximeter_alerts.amounts import parse_amount, parse_count, parse_duration
from taximeter_alerts.budget_grammar import BUDGET_KEYS, HOW, read_budget
from taximeter_alerts.rules import DEAREST, DROPS, RATES, SPIKES, WINDOWS_S, Condition, Rule
from taximeter_alerts.yaml_nodes import Nodes
from taximeter_collector.metrics import METRICS

RULE_KEYS: Final = (
    "name", "watch", "by", "where", "when", "critical", "over", "for", "keep_firing_for",
    "at_least", "no_data", "severity", "sensitivity", "notify", "group_by", "repeat_interval",
    *BUDGET_KEYS,
)  # fmt: skip
_WHEN: Final = (
    "spike, spike 3x, drop, drop 50%, above 5%, above $2, below 60%, silent, silent 1h,"
    f" burning 99%, {HOW}"
)
_NOTHING: Final = Condition("above", float("inf"))
_DAY: Final = timedelta(days=1)


def read_rules(nodes: Nodes, node: yaml.Node | None, receivers: set[str]) -> list[Rule]:
    """Return the rules of a list; a name is given once."""
    rules: list[Rule] = []
    for item in nodes.sequence(node):
        keys = nodes.mapping(item, RULE_KEYS, _rule_name(item))
        found = _Grammar(nodes, keys).rules(item, receivers)
        if any(written_name(rule) == written_name(other) for rule in found for other in rules):
            nodes.fault(keys["name"], f"there are two rules named {written_name(found[0])!r}")
        else:
            rules += found
        nodes.context = ""
    return rules


def written_name(rule: Rule) -> str:
    """Return the name in alerts.yaml, which is one for all levels of a budget."""
    return rule.name if rule.budget is None else rule.budget.name


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

    def rules(self, node: yaml.Node, receivers: set[str]) -> list[Rule]:
        """Return the rule; a budget is one a level."""
        nodes, keys = self._nodes, self._keys
        for key in ("name", "watch", "when"):
            if key not in keys and isinstance(node, yaml.MappingNode):
                nodes.fault(node, f"key {key!r} is missing")
        if not {"name", "watch", "when"} <= keys.keys():
            return []
        watch = nodes.known(keys["watch"], METRICS, "metric")
        if watch is None:
            # Everything else can still be checked, so that one run finds all faults.
            self._names("by", METRICS["cost_usd"].dimensions, "dimension")
            self._duration("for", None)
            return []
        is_budget = nodes.text(keys["when"]).split()[:1] == ["budget"]
        by = self._names("by", METRICS[watch].dimensions, "dimension") or ()
        rule = Rule(
            name=nodes.text(keys["name"]),
            watch=watch,
            condition=_NOTHING if is_budget else self._condition(keys["when"], watch),
            by=by,
            where=self._where(watch),
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
        return [self._checked(self._at_least(self._with_critical(rule)))]

    def _checked(self, rule: Rule) -> Rule:
        """Say which keys do not go together."""
        kind, keys = rule.condition.kind, self._keys
        for key in BUDGET_KEYS:
            if key in keys:
                self._nodes.fault(keys[key], f"{key!r} belongs to a budget: when: {HOW}")
        if "over" in keys and kind in ("spike", "drop", "silent", "burning"):
            self._nodes.fault(keys["over"], f"a {kind} picks its own window; leave 'over' out")
        if "sensitivity" in keys and not rule.has_sensitivity:
            self._nodes.fault(
                keys["sensitivity"], "only a spike or drop of many requests has a sensitivity"
            )
        if "no_data" in keys and kind == "silent":
            self._nodes.fault(keys["no_data"], "'silent' is about having no data; leave it out")
        return rule

    def _with_critical(self, rule: Rule) -> Rule:
        node = self._keys.get("critical")
        if node is None:
            return rule
        critical = self._condition(node, rule.watch)
        if rule.condition.kind == "burning":
            self._nodes.fault(node, "'burning' has no second level; leave 'critical' out")
        elif critical.kind != rule.condition.kind:
            self._nodes.fault(
                node, f"'critical' must be of the kind of 'when': {rule.condition.kind}"
            )
        elif _is_easier(critical, rule.condition):
            self._nodes.fault(node, "'critical' must be further out than 'when'")
        if rule.severity == "critical":
            self._nodes.fault(node, "'severity' is critical already; leave one of the two out")
        return replace(rule, critical=critical)

    def _condition(self, node: yaml.Node, watch: str) -> Condition:
        text = self._nodes.text(node)
        words = text.split()
        unit = METRICS[watch].unit
        if words[:1] == ["spike"] and len(words) <= 2:
            return self._spike(node, words, watch)
        if words[:1] == ["drop"] and len(words) <= 2:
            return self._drop(node, words, watch)
        if words[:1] == ["silent"] and len(words) <= 2:
            return self._silent(node, words, watch)
        if len(words) == 2 and words[0] in ("above", "below"):
            limit = self._nodes.value(node, lambda _: parse_amount(words[1], unit), 0.0)
            return Condition("above" if words[0] == "above" else "below", limit, text)
        if words[:1] == ["burning"] and len(words) == 2:
            return self._burning(node, words, watch)
        self._nodes.fault(node, f"cannot read {text!r}; use one of: {_WHEN}")
        return _NOTHING

    def _spike(self, node: yaml.Node, words: list[str], watch: str) -> Condition:
        if watch not in (*SPIKES, DEAREST):
            self._nodes.fault(node, f"a spike of {watch!r} is not supported; use above or below")
            return _NOTHING
        if len(words) == 1:
            ratio = 1.5 if watch.startswith("loop") else 3.0 if watch == DEAREST else 2.0
            return Condition("spike", ratio, "spike")
        times = words[1].removesuffix("x")
        try:
            ratio = float(parse_amount(times, "1"))
        except ValueError:
            ratio = 0.0
        if ratio <= 1 or not words[1].endswith("x"):
            self._nodes.fault(
                node, f"cannot read {' '.join(words)!r}; write spike 2x (more than 1x)"
            )
            return _NOTHING
        return Condition("spike", ratio, " ".join(words))

    def _drop(self, node: yaml.Node, words: list[str], watch: str) -> Condition:
        if watch not in DROPS:
            self._nodes.fault(node, f"a drop of {watch!r} is not supported; use below, or silent")
            return _NOTHING
        gone = 0.5
        if len(words) == 2:
            gone = self._nodes.value(node, lambda _: parse_amount(words[1], "ratio"), 0.5)
        if not 0 < gone < 1:
            self._nodes.fault(node, f"cannot read {' '.join(words)!r}; write drop 50%")
        return Condition("drop", gone, " ".join(words))

    def _burning(self, node: yaml.Node, words: list[str], watch: str) -> Condition:
        if watch not in RATES:
            self._nodes.fault(
                node, f"'burning' needs one of: {', '.join(RATES)}; of money it is a budget's level"
            )
            return _NOTHING
        kept = self._nodes.value(node, lambda _: parse_amount(words[1], "ratio"), 0.99)
        if not 0.5 <= kept < 1:
            self._nodes.fault(
                node,
                f"cannot read {' '.join(words)!r}; write burning 99%, the share that may not fail",
            )
        return Condition("burning", kept, " ".join(words))

    def _silent(self, node: yaml.Node, words: list[str], watch: str) -> Condition:
        if watch != "requests":
            self._nodes.fault(node, "'silent' needs watch: requests")
            return _NOTHING
        if len(words) == 1:
            return Condition("silent", 0.0, "silent")
        seconds = self._nodes.value(node, lambda _: parse_duration(words[1]), _DAY).total_seconds()
        if int(seconds) not in WINDOWS_S:
            self._nodes.fault(node, "silent must last one of: 5m, 15m, 1h, 6h, 24h")
        return Condition("silent", seconds, " ".join(words))

    def _names(self, key: str, allowed: tuple[str, ...], noun: str) -> tuple[str, ...] | None:
        node = self._keys.get(key)
        if node is None:
            return None
        items = [node] if isinstance(node, yaml.ScalarNode) else self._nodes.sequence(node)
        found = [self._nodes.known(item, allowed, noun) for item in items]
        return tuple(dict.fromkeys(name for name in found if name is not None))

    def _where(self, watch: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        node = self._keys.get("where")
        if node is None:
            return ()
        nodes = self._nodes
        keys = nodes.mapping(node, METRICS[watch].dimensions, nodes.context, "dimension")
        return tuple((name, nodes.texts(value)) for name, value in sorted(keys.items()))

    def _duration(self, key: str, default: timedelta | None) -> Any:
        return self._nodes.value(self._keys.get(key), parse_duration, default)

    def _repeat_interval(self) -> timedelta | None:
        interval: timedelta | None = self._duration("repeat_interval", None)
        if interval is not None and timedelta(0) < interval < timedelta(minutes=5):
            self._nodes.fault(
                self._keys["repeat_interval"], "repeat_interval is 0s (never) or at least 5m"
            )
        return interval

    def _over(self) -> int:
        seconds = int(self._duration("over", timedelta(minutes=15)).total_seconds())
        if seconds not in WINDOWS_S:
            self._nodes.fault(self._keys["over"], "over must be one of: 5m, 15m, 1h, 6h, 24h")
        return seconds

    def _at_least(self, rule: Rule) -> Rule:
        node = self._keys.get("at_least")
        if node is None:
            return rule
        nodes = self._nodes
        keys = nodes.mapping(node, ("requests", "errors", "agents", "impact"), nodes.context)
        if "requests" in keys:
            rule = replace(rule, min_requests=nodes.value(keys["requests"], parse_count, 1))
        if "errors" in keys:
            if rule.watch not in RATES:
                nodes.fault(keys["errors"], f"'errors' needs one of: {', '.join(RATES)}")
            rule = replace(rule, min_errors=nodes.value(keys["errors"], parse_count, 1))
        if "agents" in keys:
            if rule.watch not in RATES or "agent_name" in rule.by:
                nodes.fault(
                    keys["agents"], f"'agents' needs one of: {', '.join(RATES)}, not by agent_name"
                )
            rule = replace(rule, min_agents=nodes.value(keys["agents"], parse_count, 1))
        if "impact" in keys:
            if rule.condition.kind not in ("spike", "drop") or rule.is_rate:
                nodes.fault(
                    keys["impact"], "'impact' needs a spike or drop of a cost, loop or latency"
                )
            impact = nodes.value(keys["impact"], lambda text: parse_amount(text, "USD"), 0.0)
            rule = replace(rule, min_impact_usd=impact)
        return rule


def _is_easier(critical: Condition, when: Condition) -> bool:
    if critical.kind == "silent":
        return (critical.limit or 3_600) <= (when.limit or 3_600)
    if critical.kind == "below":
        return critical.limit >= when.limit
    return critical.limit <= when.limit
