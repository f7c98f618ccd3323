"""Rules and windows in, findings out: the same for the running process and for a backtest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Final, Protocol

from taximeter_alerts.judge.budgets import BudgetSpend, budget_sentence, judge_budget, status_of
from taximeter_alerts.judge.burn_rate import judge_burning
from taximeter_alerts.judge.detect import Reference, Sample, Verdict, judge
from taximeter_alerts.judge.explain import explain
from taximeter_alerts.judge.finding import Finding
from taximeter_alerts.judge.groups import Groups, History, Labels
from taximeter_alerts.judge.quiet import judge_quiet
from taximeter_alerts.judge.screen import MAYBE, NO_DATA, outcomes_of, screen
from taximeter_alerts.judge.windows import Shape
from taximeter_alerts.rules.book import Budget, Rule

_FAILURES_OF_AN_AGENT: Final = 2
Key = tuple[str, str]
"""A rule's name and a group."""
Seen = Iterable[tuple[str, str, Labels]]
"""Rule, group and labels of what was found before."""
_Known = dict[str, dict[str, Labels]]
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


@dataclass(frozen=True)
class Judged:
    """What one rule found on some groups; a group's finding is made when it is asked for."""

    rule: Rule
    groups: Groups
    history: History
    source: Source
    at: datetime

    @cached_property
    def outcomes(self) -> dict[str, str]:
        """Outcome by group; `maybe` where only its finding tells."""
        places = self.history.places_of(self.groups)
        watch = self.rule.watch
        samples, past = self.groups.metrics[watch], self.history.metrics[watch]
        found = screen(self.rule, samples, past, places, self.at)
        if self.rule.no_data == "alert":
            found[found == NO_DATA] = MAYBE
        return dict(zip(self.groups, outcomes_of(found), strict=True))

    def find(self, key: str) -> Finding:
        """Return the finding of one group."""
        labels = self.groups.labels[self.groups.places[key]]
        samples = self.groups.samples(key, self.rule.watch)
        reference = self.history.of(key, self.rule.watch)
        return _find(self.rule, labels, samples, reference, self.source, self.at)


@dataclass(frozen=True, slots=True)
class Findings:
    """What an evaluation found: of budgets all of it, of other rules what is looked at."""

    budgets: list[Finding]
    judged: dict[str, list[Judged]]
    """By rule."""

    def news(self, is_known: Callable[[str, str, str], bool]) -> list[Finding]:
        """Return the findings that may breach, and those whose rule, group and outcome are not known."""
        found = [*self.budgets]
        for name, parts in self.judged.items():
            for part in parts:
                found += [
                    part.find(key)
                    for key, outcome in part.outcomes.items()
                    if outcome == "maybe" or not is_known(name, key, outcome)
                ]
        return found

    def __iter__(self) -> Iterator[Finding]:
        """Yield every finding."""
        return iter(self.news(lambda *_: False))

    def labels(self) -> dict[Key, Labels]:
        """Return the labels of every rule and group."""
        found = {(finding.rule.name, finding.key): finding.labels for finding in self.budgets}
        for name, parts in self.judged.items():
            for part in parts:
                names = [(name, key) for key in part.groups]
                found |= zip(names, part.groups.labels, strict=True)
        return found

    def of(self, name: str, key: str) -> Finding | None:
        """Return the finding of a rule on a group, None without one."""
        parts = (part for part in self.judged.get(name, ()) if key in part.groups.places)
        return next((part.find(key) for part in parts), None)


def find_all(
    shapes: Mapping[Shape, Sequence[Rule]], source: Source, seen: Seen, at: datetime
) -> Findings:
    """Return what every rule finds on every group, with traffic or once seen."""
    found = Findings([], {})
    known: _Known = {}
    for name, key, labels in seen:
        known.setdefault(name, {})[key] = labels
    for shape, rules in shapes.items():
        found.budgets.extend(_find_budgets(shape, rules, source, known, at))
        metrics = metrics_of(rules)
        if not metrics:
            continue
        groups = source.samples(shape, metrics, at)
        history = source.history(shape, metrics, at)
        for rule in (rule for rule in rules if rule.budget is None):
            gone = [
                labels for k, labels in known.get(rule.name, {}).items() if k not in groups.places
            ]
            quiet = Groups.without_traffic(gone, metrics)
            found.judged[rule.name] = [
                Judged(rule, part, history, source, at) for part in (quiet, groups) if part
            ]
    return found


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


def _find(
    rule: Rule,
    labels: Labels,
    samples: Mapping[int, Sample],
    reference: Reference,
    source: Source,
    at: datetime,
) -> Finding:
    verdict = _verdict(rule, samples, reference, at)
    severity = rule.severity
    if verdict.outcome == "breach" and rule.critical is not None:
        harder = replace(rule, condition=rule.critical)
        if _verdict(harder, samples, reference, at).outcome == "breach":
            severity = "critical"
    if verdict.outcome == "breach" and rule.min_agents is not None:
        agents = _failing_agents(rule, labels, verdict, source, at)
        is_enough = len(agents) >= rule.min_agents
        verdict = replace(verdict, outcome="breach" if is_enough else "clear", agents=agents)
    # What is well explains itself when somebody asks.
    sentence = explain(rule, labels, verdict) if verdict.outcome == "breach" else ""
    return Finding(rule, labels, verdict, sentence, severity)


def _failing_agents(
    rule: Rule, labels: Labels, verdict: Verdict, source: Source, at: datetime
) -> tuple[str, ...]:
    """Return the agents with a good part of the failures of this group."""
    where: dict[str, tuple[str | None, ...]] = dict(rule.where)
    where |= {name: (value,) for name, value in labels.items()}
    shape = Shape(("agent_name",), tuple(sorted(where.items())))
    found, failing = source.samples(shape, [rule.watch], at), []
    for key, named in zip(found, found.labels, strict=True):
        sample = found.samples(key, rule.watch).get(verdict.window_s or 0)
        name = named["agent_name"]
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
