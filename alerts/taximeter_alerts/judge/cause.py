"""What made an alert breach: queries to the collector in, lines for its notice out.

Spend of the newest part of the alert's window is compared with the 24 hours before the window, both
by the hour: a window of an hour that has just begun to breach is mostly what was usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from importlib.resources import files
from typing import Any, Final

from taximeter_alerts.amounts import say_amount, say_duration
from taximeter_alerts.judge.detect import Verdict
from taximeter_alerts.judge.windows import Reader
from taximeter_alerts.rules.book import LOOPS, Rule
from taximeter_collector.decompose import (
    FACTOR_NAMES,
    FACTORS,
    Decomposition,
    Factor,
    ModelUsage,
    PeriodUsage,
    added_up,
    decompose,
    periods,
    usage_query,
)
from taximeter_collector.metrics import (
    CALL_DIMENSIONS,
    METRICS,
    REQUEST_DIMENSIONS,
    TOOL_DIMENSIONS,
    Query,
    matching,
    metric_query,
)

_SQL: Final = files("taximeter_alerts") / "sql" / "cause"
_ROWS: Final[Mapping[str, Sequence[str]]] = {
    "failed_calls": CALL_DIMENSIONS,
    "failed_tools": TOOL_DIMENSIONS,
    "repeated_tools": TOOL_DIMENSIONS,
}
"""What the rows that a question reads can be filtered by; others read requests."""
_BEFORE_S: Final = 86_400
_NEWEST: Final = 4
"""Of a window the newest part in so many is what it costs now,"""
_NEWEST_S: Final = 300
"""of so many seconds at least,"""
_FEW_REQUESTS: Final = 5
"""and with so many requests; else the whole window is."""
_PICO: Final = 1e12
EXTRA: Final = "Extra cost"
_OF_FAILED: Final = "Cost of the failed requests"
_LEAST_SHARE: Final = 0.5
"""A group is named when it made at least so much of the change."""
_WHERE: Final = ("agent_version", "model", "tenant", "user_id")
"""Where a change is looked for, in this order."""
_FIRST: Final[Mapping[Factor, str]] = {
    "requests": "See who sends the requests; a budget or limit (guards) bounds what they cost.",
    "calls_per_request": "Open the first example: where its calls repeat, limit the steps (guards).",
    "model_mix": "Check which deploy or fallback chose the dearer model.",
    "prompt_tokens_per_call": "Open the first example and see what grew in its prompt.",
    "output_tokens_per_call": "Open the first example and see why it writes more; set a limit of"
    " output tokens.",
    "cache_mix": "Open the Cache page: what changed at the beginning of the prompt?",
    "price": "Compare the model's price with the provider's: `taximeter prices show MODEL`.",
    "other_charges": "Open the first example and see its charges beside tokens.",
}
_FIRST_OF: Final = {
    "error_rate": "Open the first example; when one class or tool leads, look there first.",
    "tool_error_rate": "Open the first example and call the tool by hand with its arguments.",
    "call_error_rate": "Look at the provider's status page; switch to a fallback model.",
    "cache_hit_ratio": "Open the Cache page: what changed at the beginning of the prompt?",
    "requests": "See whether the agent runs, and whether its spans arrive: `taximeter doctor`.",
}


@dataclass(frozen=True, slots=True)
class Example:
    """One request that shows the alert."""

    request_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Cause:
    """What a notice says beside its sentence."""

    lines: tuple[str, ...] = ()
    usd_per_hour: float | None = None
    """What it costs an hour at this pace: more than before, or for nothing (failed requests)."""
    pace_of: str = EXTRA
    first: str = ""
    """What to do first."""
    examples: tuple[Example, ...] = ()


def read_cause(
    reader: Reader, rule: Rule, labels: Mapping[str, str | None], verdict: Verdict, at: datetime
) -> Cause:
    """Return what changed, who made it and what shows it. Raises QueryError."""
    asked = _Asked(reader, rule, labels, verdict, at)
    if rule.is_rate:
        return asked.failures()
    if rule.is_silent:
        return Cause(first=_FIRST_OF["requests"])
    if rule.watch in LOOPS:
        return asked.loops()
    if rule.watch == "cache_hit_ratio":
        return asked.cache()
    if METRICS[rule.watch].unit == "USD":
        return asked.cost()
    show = "slow" if METRICS[rule.watch].unit == "seconds" else "dear"
    lines = asked.by_group()
    return Cause(lines, first="Open the first example.", examples=asked.examples(show))


@dataclass(frozen=True, slots=True)
class _Leader:
    """The group that made most of a change of spend."""

    dimension: str
    name: str
    share: float
    is_new: bool

    @property
    def line(self) -> str:
        new = ", not seen before" if self.is_new else ""
        told = "More than all" if self.share > 1.005 else f"{self.share:.0%}".replace("%", " %")
        return f"{told} of the change: {_noun(self.dimension)} {self.name}{new}."


class _Asked:
    """One alert's questions to the collector."""

    def __init__(
        self,
        reader: Reader,
        rule: Rule,
        labels: Mapping[str, str | None],
        verdict: Verdict,
        at: datetime,
    ) -> None:
        self._reader, self._rule, self._end = reader, rule, at
        self._window_s = verdict.window_s or 3_600
        self._start = at - timedelta(seconds=self._window_s)
        self._before = self._start - timedelta(seconds=_BEFORE_S)
        self._now_s = self._window_s
        """How much of the window's end the decomposition looks at."""
        self._where: dict[str, list[str | None]] = {name: [*values] for name, values in rule.where}
        self._where |= {name: [value] for name, value in labels.items()}

    def cost(self) -> Cause:
        found = self._decomposition()
        # What one request costs is not moved by their number.
        moved = FACTORS if self._rule.watch == "cost_usd" else FACTORS[1:]
        factor = max(moved, key=lambda name: found.parts[name])
        leaders = self._leaders(_WHERE)
        lines = (*self._change(found), *(leader.line for leader in leaders))
        first = _first(_FIRST[factor], leaders)
        pace = self._hourly(found.change_pico)
        return Cause(lines, pace, first=first, examples=self.examples("dear"))

    def loops(self) -> Cause:
        lines = [*self.by_group()]
        for row in self._rows("repeated_tools"):
            lines.append(
                f"{row['repeated']} of {row['tool_calls']} calls of {row['tool_name']} repeat"
                " an earlier one with the same arguments."
            )
        change = self._hourly(self._decomposition().change_pico)
        first = _first(_FIRST["calls_per_request"], self._leaders(("agent_version",)))
        return Cause(tuple(lines), change, first=first, examples=self.examples("loop"))

    def cache(self) -> Cause:
        found = self._decomposition()
        pace = self._hourly(found.parts["cache_mix"])
        first = _first(_FIRST_OF["cache_hit_ratio"], self._leaders(("agent_version",)))
        shown = self.examples("uncached")
        return Cause(self.by_group(), pace, first=first, examples=shown)

    def failures(self) -> Cause:
        requests = self._rows("failed_requests")
        lines = []
        if requests:
            told = ", ".join(f"{row['failed']} {row['error_class']}" for row in requests[:3])
            lines.append(f"Failed requests by class: {told}.")
        calls = [] if self._rule.watch == "tool_error_rate" else self._rows("failed_calls")
        tools = [] if self._rule.watch == "call_error_rate" else self._rows("failed_tools")
        for name, rows, key in (("tools", tools, "tool_name"), ("model calls", calls, "model")):
            if rows:
                told = ", ".join(f"{r[key]} {r['failed']}{_class(r['error_class'])}" for r in rows)
                lines.append(f"Failed {name}: {told}.")
        if self._rule.watch != "error_rate":  # of a tool or model: what failed in it leads
            lines.reverse()
        spent = sum(row["cost_usd"] for row in requests) * 3_600 / self._window_s
        first = _FIRST_OF[self._rule.watch]
        shown = self.examples("failed")
        return Cause(tuple(lines), spent or None, _OF_FAILED, first, shown)

    def by_group(self) -> tuple[str, ...]:
        """Return the value of the metric by version and model, where there are several."""
        name, lines = self._rule.watch, []
        for dimension in ("agent_version", "model"):
            if dimension in self._where or dimension not in METRICS[name].dimensions:
                continue
            now, before = (
                self._values(dimension, start, end)
                for start, end in ((self._start, self._end), (self._before, self._start))
            )
            if len(now.keys() | before.keys()) < 2:
                continue
            worst = sorted(list(now.items())[:3], key=lambda of: _worse(name, of[1]))
            told = [
                f"{group or 'none'}: {say_amount(value, METRICS[name].unit)}{_was(before, group, name)}"
                for group, value in worst
            ]
            lines.append(f"By {_noun(dimension)}: {'; '.join(told)}.")
        return tuple(lines)

    def examples(self, show: str) -> tuple[Example, ...]:
        return tuple(
            Example(row["request_id"], _shown(row)) for row in self._rows("examples", show=show)
        )

    def _values(self, dimension: str, start: datetime, end: datetime) -> dict[str | None, float]:
        query = metric_query(
            [self._rule.watch], start, end, by=[dimension], where=self._where,
            order_by="sample_requests",
        )  # fmt: skip
        rows = self._reader.query(query.sql, query.params).to_pylist()
        name = self._rule.watch
        return {row[dimension]: row[name] for row in rows if row[name] is not None}

    def _decomposition(self) -> Decomposition:
        self._now_s = min(self._window_s, max(_NEWEST_S, self._window_s // _NEWEST))
        before, after = self._usage(None)
        times = _BEFORE_S // self._now_s
        if sum(usage.requests for usage in after.values()) < _FEW_REQUESTS * times:
            self._now_s = self._window_s
            before, after = self._usage(None)
        return decompose(added_up(before.values()), added_up(after.values()))

    def _usage(
        self, group_by: str | None
    ) -> tuple[dict[str | None, PeriodUsage], dict[str | None, PeriodUsage]]:
        """Return both periods, the newest as if it had lasted for 24 hours."""
        where = {name: v for name, v in self._where.items() if name in REQUEST_DIMENSIONS}
        start = self._end - timedelta(seconds=self._now_s)
        query = usage_query(
            self._before, start, self._end, group_by=group_by, where=where, before_end=self._start
        )
        before, after = periods(self._reader.query(query.sql, query.params).to_pylist())
        times = _BEFORE_S // self._now_s
        return before, {name: _scaled(usage, times) for name, usage in after.items()}

    def _change(self, found: Decomposition) -> tuple[str, ...]:
        if not found.change_pico:
            return ()
        parts = sorted(FACTORS, key=lambda factor: -abs(found.parts[factor]))
        told = [
            f"{FACTOR_NAMES[factor]} {_signed(self._hourly(found.parts[factor]))}"
            for factor in parts
            if abs(found.parts[factor]) * 20 >= abs(found.change_pico)
        ]
        now = say_amount(self._hourly(found.after.cost_pico), "USD")
        change = _signed(self._hourly(found.change_pico))
        return (f"Spend {now} an hour, {change} against the 24 h before: {', '.join(told)}.",)

    def _leaders(self, dimensions: Sequence[str]) -> list[_Leader]:
        """Return the groups that made most of the change, of each dimension that has one."""
        found = []
        for dimension in dimensions:
            if dimension in self._where:
                continue
            before, after = self._usage(dimension)
            paid = {n for n, u in (*before.items(), *after.items()) if u.cost_pico}
            costs = {
                name: after.get(name, _NOTHING).cost_pico - before.get(name, _NOTHING).cost_pico
                for name in paid
            }
            total = sum(costs.values())
            if len(costs) < 2 or not total:
                continue
            name = max(costs, key=lambda group: costs[group] / total)
            share = costs[name] / total
            if name is not None and share >= _LEAST_SHARE:
                found.append(_Leader(dimension, name, share, is_new=name not in before))
        return found

    def _rows(self, name: str, **more: Any) -> list[dict[str, Any]]:
        rows = self._matching(_ROWS[name]) if name in _ROWS else self._requests()
        sql = _statement(name, rows.sql)
        params = {"start": self._start, "end": self._end, **rows.params, **more}
        found: list[dict[str, Any]] = self._reader.query(sql, params).to_pylist()
        return found

    def _requests(self) -> Query:
        """Return what makes a request one of the alert's: itself, or a call or tool call in it.

        A sub-agent, a model and a tool have no requests of their own.
        """
        dimensions = METRICS[self._rule.watch].dimensions
        if dimensions == REQUEST_DIMENSIONS:
            return self._matching(REQUEST_DIMENSIONS)
        rows = self._matching(dimensions)
        name = "through_tool_calls" if "tool_name" in dimensions else "through_calls"
        return Query(_statement(name, rows.sql), {**rows.params, "only_failed": self._rule.is_rate})

    def _matching(self, known: Sequence[str]) -> Query:
        return matching({key: v for key, v in self._where.items() if key in known}, known)

    def _hourly(self, pico: int) -> float:
        return pico / _PICO / (_BEFORE_S / 3_600)


_NOTHING: Final = PeriodUsage(0, {})


def _first(usually: str, leaders: Sequence[_Leader]) -> str:
    """Return what to do first: a version that is new and dearer is rolled back."""
    for leader in leaders:
        if leader.dimension == "agent_version" and leader.is_new:
            return f"Roll version {leader.name} back if you can. {usually}"
    return usually


def _statement(name: str, where: str) -> str:
    return (_SQL / f"{name}.sql").read_text(encoding="utf-8").replace("{where}", where)


def _scaled(usage: PeriodUsage, times: int) -> PeriodUsage:
    models = {
        name: ModelUsage(**{f.name: getattr(model, f.name) * times for f in fields(model)})
        for name, model in usage.models.items()
    }
    return PeriodUsage(usage.requests * times, models)


def _shown(row: Mapping[str, Any]) -> str:
    parts = []
    if row["cost_pico"] is not None:
        parts.append(say_amount(row["cost_pico"] / _PICO, "USD"))
    if row["loop_length"]:
        steps = row["loop_length"]
        parts.append(f"{steps} step{'' if steps == 1 else 's'}")
    if row["duration_ms"] is not None:
        parts.append(say_duration(row["duration_ms"] / 1_000))
    if row["error_class"]:
        parts.append(str(row["error_class"]))
    return ", ".join(parts) or "a request"


def _worse(name: str, value: float) -> float:
    """Return what puts the worst values of a metric first."""
    return value if METRICS[name].better == "higher" else -value


def _signed(usd: float) -> str:
    return ("+" if usd >= 0 else "") + say_amount(usd, "USD")


def _was(before: Mapping[str | None, float], group: str | None, name: str) -> str:
    if group not in before:
        return " (not seen before)"
    return f" (before {say_amount(before[group], METRICS[name].unit)})"


def _class(name: str) -> str:
    """Return the class of a failure; that a tool failed as a tool says nothing."""
    return "" if name == "tool" else f" {name}"


def _noun(dimension: str) -> str:
    return dimension.removeprefix("agent_").removesuffix("_id")
