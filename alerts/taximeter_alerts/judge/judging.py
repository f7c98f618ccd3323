"""Rules and windows in, findings out: the same for the running process and for a backtest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, Protocol

from taximeter_alerts.judge.budgets import BudgetSpend, budget_sentence, judge_budget, status_of
from taximeter_alerts.judge.burn_rate import judge_burning
from taximeter_alerts.judge.detect import Reference, Sample, Verdict, judge
from taximeter_alerts.judge.explain import explain
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.judge.quiet import judge_quiet
from taximeter_alerts.judge.windows import Group, Groups, History, Shape
from taximeter_alerts.rules.book import Budget, Rule

_FAILURES_OF_AN_AGENT: Final = 2
Seen = Iterable[tuple[str, str, dict[str, str | None]]]
"""Rule, group and labels of what was found before."""


_Known = dict[str, dict[str, dict[str, str | None]]]
"""Rule -> group -> labels."""


class Source(Protocol):
    """Where windows come from."""

    def samples(self, shape: Shape, metrics: Sequence[str], at: datetime) -> Groups:
        """Return each group's trailing windows that end at `at`."""

    def history(self, shape: Shape, metrics: Sequence[str], at: datetime) -> History:
        """Return what was usual up to the hour of `at`."""

    def spend(self, shape: Shape, budget: Budget, at: datetime) -> BudgetSpend:
        """Return what the groups of a budget spent up to `at`."""


def metrics_of(rules: Iterable[Rule]) -> list[str]:
    """Return the metrics that these rules watch in windows, each once."""
    return list(dict.fromkeys(rule.watch for rule in rules if rule.budget is None))


def find_all(
    shapes: Mapping[Shape, Sequence[Rule]], source: Source, seen: Seen, at: datetime
) -> list[Finding]:
    """Return the finding of every rule on every group, with traffic or once seen."""
    findings = []
    known: _Known = {}
    for name, key, labels in seen:
        known.setdefault(name, {})[key] = labels
    for shape, rules in shapes.items():
        findings += _find_budgets(shape, rules, source, known, at)
        metrics = metrics_of(rules)
        if not metrics:
            continue
        groups = source.samples(shape, metrics, at)
        history = source.history(shape, metrics, at)
        for rule in (rule for rule in rules if rule.budget is None):
            quiet = {k: Group(labels) for k, labels in known.get(rule.name, {}).items()}
            for key, group in {**quiet, **groups}.items():
                findings.append(_find(rule, group, history.of(key, rule.watch), source, at))
    return findings


def _find_budgets(
    shape: Shape, rules: Sequence[Rule], source: Source, known: _Known, at: datetime
) -> list[Finding]:
    """Return the findings of the levels of budgets; a group that spent nothing yet has its too."""
    findings = []
    for budget in dict.fromkeys(rule.budget for rule in rules if rule.budget is not None):
        levels = [rule for rule in rules if rule.budget == budget]
        spend = source.spend(shape, budget, at)
        groups = {
            key: labels for rule in levels for key, labels in known.get(rule.name, {}).items()
        }
        groups |= {key: labels for key, (labels, _) in spend.current.items()}
        for key, labels in groups.items():
            status = status_of(budget, labels, key, spend, at)
            for rule in levels:
                verdict, said = judge_budget(rule, status), budget_sentence(rule, status)
                findings.append(Finding(rule, labels, verdict, said, rule.severity, budget=status))
    return findings


def _find(rule: Rule, group: Group, reference: Reference, source: Source, at: datetime) -> Finding:
    samples = group.samples.get(rule.watch, {})
    verdict = _verdict(rule, samples, reference, at)
    severity = rule.severity
    if verdict.outcome == "breach" and rule.critical is not None:
        harder = replace(rule, condition=rule.critical)
        if _verdict(harder, samples, reference, at).outcome == "breach":
            severity = "critical"
    if verdict.outcome == "breach" and rule.min_agents is not None:
        agents = _failing_agents(rule, group, verdict, source, at)
        is_enough = len(agents) >= rule.min_agents
        verdict = replace(verdict, outcome="breach" if is_enough else "clear", agents=agents)
    # What is well explains itself when somebody asks.
    sentence = explain(rule, group.labels, verdict) if verdict.outcome == "breach" else ""
    return Finding(rule, group.labels, verdict, sentence, severity)


def _failing_agents(
    rule: Rule, group: Group, verdict: Verdict, source: Source, at: datetime
) -> tuple[str, ...]:
    """Return the agents with a good part of the failures of this group."""
    where: dict[str, tuple[str | None, ...]] = dict(rule.where)
    where |= {name: (value,) for name, value in group.labels.items()}
    shape = Shape(("agent_name",), tuple(sorted(where.items())))
    failing = []
    for found in source.samples(shape, [rule.watch], at).values():
        sample = found.samples[rule.watch].get(verdict.window_s or 0)
        name = found.labels["agent_name"]
        if name is None or sample is None or sample.value is None:
            continue
        if sample.failures >= _FAILURES_OF_AN_AGENT and sample.value >= (verdict.value or 0) / 2:
            failing.append(name)
    return tuple(sorted(failing))


def _verdict(
    rule: Rule, samples: Mapping[int, Sample], reference: Reference, at: datetime
) -> Verdict:
    if rule.is_silent:
        return judge_quiet(rule, samples, reference, at)
    if rule.condition.kind == "burning":
        return judge_burning(rule, samples)
    return judge(rule, samples, reference)
