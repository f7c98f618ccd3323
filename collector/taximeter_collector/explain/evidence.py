"""What a proof stands on: rows of the published views about one span, gathered by the read API."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from taximeter_collector.explain.replay import RULES_SQL, Reading, Replay

Row = dict[str, Any]
CALLS: Final = "llm", "embedding"
_SPAN_ID: Final = re.compile(r"[0-9a-f]{16}")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")
_CALLS_SQL: Final = """select span_id, parent_span_id, agent_span_id, name, kind, model, is_billed,
    billed_reason, is_decision, is_retry, cost_pico, total_tokens, start_time
from calls where trace_id = $trace order by start_time, span_id limit 20000"""
_TWINS_SQL: Final = """select trace_id, span_id, dialect, billed_reason from calls
where not is_billed and contains(billed_reason, $span)
    and start_time between $start - interval 15 minutes and $end + interval 15 minutes limit 20"""
_REPEATS_SQL: Final = """select span_id, start_time, consecutive_repeat, is_repeat from tool_calls
where trace_id = $trace and agent_span_id is not distinct from $agent and tool_name = $tool
    and arguments_hash = $hash order by start_time, span_id limit 1000"""


class Ask(Protocol):
    """The read API: a statement and its parameters in, rows with exact integers out."""

    def __call__(self, sql: str, params: Mapping[str, Any] | None = None, /) -> list[Row]: ...


class NotExplainable(Exception):
    """There is no one span of this id; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that the steps of a proof look at."""

    span: Row
    """The row of ``spans``."""
    reading: Reading
    call: Row | None
    """The row of ``calls``."""
    tool: Row | None
    run: Row | None
    """The row of ``agent_runs``."""
    calls: Sequence[Row]
    """The calls of the trace: ids, whose, billed, cost."""
    parents: Mapping[str, str | None]
    """Of each span of the trace."""
    twins: Sequence[Row]
    """Calls that are not billed because this one is."""
    repeats: Sequence[Row]
    """Tool calls of the same run with the same arguments, this one included."""
    how_to_price: str | None

    def below(self) -> list[Row]:
        """Return the calls below the span."""
        return [call for call in self.calls if self._is_below(call["parent_span_id"])]

    def _is_below(self, at: str | None) -> bool:
        seen: set[str] = set()
        while at is not None and at not in seen:
            if at == self.span["span_id"]:
                return True
            seen.add(at)
            at = self.parents.get(at)
        return False


def find_trace(ask: Ask, span_id: str, trace_id: str | None = None) -> tuple[str, str]:
    """Return (trace id, span id) of the one span that is meant. Raises NotExplainable."""
    span_id, trace_id = span_id.strip().lower(), (trace_id or "").strip().lower()
    if not _SPAN_ID.fullmatch(span_id):
        raise NotExplainable(f"A span id is 16 hexadecimal digits; {span_id[:40]!r} is none.")
    if trace_id and not _TRACE_ID.fullmatch(trace_id):
        raise NotExplainable(f"A trace id is 32 hexadecimal digits; {trace_id[:40]!r} is none.")
    rows = ask(
        "select distinct trace_id from spans where span_id = $span"
        " and ($trace = '' or trace_id = $trace) order by trace_id limit 5",
        {"span": span_id, "trace": trace_id},
    )
    if not rows:
        where = f" in trace {trace_id}" if trace_id else ""
        raise NotExplainable(
            f"No span {span_id}{where} is stored: it has not arrived yet, or its time is over."
        )
    if len(rows) > 1:
        traces = ", ".join(row["trace_id"] for row in rows)
        raise NotExplainable(
            f"Span {span_id} is in several traces ({traces}): name one with --trace."
        )
    return rows[0]["trace_id"], span_id


def gather(ask: Ask, replay: Replay, trace_id: str, span_id: str) -> Evidence:
    """Return the evidence about a stored span. Raises NotExplainable, and what ``ask`` raises."""
    ids = {"trace": trace_id, "span": span_id}
    of_span = "where trace_id = $trace and span_id = $span"
    spans = ask(
        f"select * from spans {of_span} order by received_at desc, end_unix_nano desc limit 1", ids
    )
    if not spans:
        raise NotExplainable(f"No span {span_id} in trace {trace_id} is stored.")
    call, tool, run = (
        next(iter(ask(f"select * from {view} {of_span} limit 1", ids)), None)
        for view in ("calls", "tool_calls", "agent_runs")
    )
    trace = {"trace": trace_id}
    tree = ask("select span_id, parent_span_id from spans where trace_id = $trace", trace)
    return Evidence(
        span=spans[0],
        reading=replay.read(spans, ask(RULES_SQL))[0],
        call=call,
        tool=tool,
        run=run,
        calls=ask(_CALLS_SQL, trace),
        parents={row["span_id"]: row["parent_span_id"] for row in tree},
        twins=_twins(ask, call) if call else (),
        repeats=_repeats(ask, tool) if tool else (),
        how_to_price=_how_to_price(ask, call) if call else None,
    )


def _twins(ask: Ask, call: Row) -> list[Row]:
    found = {"span": call["span_id"], "start": call["start_time"], "end": call["end_time"]}
    return ask(_TWINS_SQL, found)


def _repeats(ask: Ask, tool: Row) -> list[Row]:
    return ask(
        _REPEATS_SQL,
        {"trace": tool["trace_id"], "agent": tool["agent_span_id"], "tool": tool["tool_name"],
         "hash": tool["arguments_hash"]},
    )  # fmt: skip


def _how_to_price(ask: Ask, call: Row) -> str | None:
    if call["cost_pico"] is not None:
        return None
    rows = ask(
        "select how_to_price from unpriced_models where provider is not distinct from $provider"
        " and model is not distinct from $model limit 1",
        {"provider": call["provider"], "model": call["model"]},
    )
    return rows[0]["how_to_price"] if rows else None
