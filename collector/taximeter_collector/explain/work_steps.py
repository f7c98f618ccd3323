"""What is said of a tool execution, an agent run, and a span above calls. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from taximeter_collector.explain.evidence import Evidence
from taximeter_collector.explain.proof import (
    Check,
    Column,
    Fact,
    Link,
    Step,
    Table,
    count,
    shown,
    usd,
    worst,
)

_LISTED: Final = 20


def fingerprint_step(evidence: Evidence) -> Step:
    """Say what makes the tool call the same as another."""
    tool, found = evidence.tool or {}, evidence.reading.candidates
    facts = [Fact("Tool", tool["tool_name"]), Fact("Call id", tool["tool_call_id"])]
    stated, arguments = found.get("arguments_hash"), found.get("tool_args")
    if stated:
        by = f"sent by the emitter in {stated[0].source}"
    elif arguments:
        by = f"made here from {arguments[0].source}, in canonical form without volatile keys"
    else:
        says = "The emitter sent no arguments: whether this call repeats another is unknown."
        return Step("fingerprint", "Fingerprint", says, "note", facts)
    facts += [Fact("Arguments", tool["arguments_hash"]), Fact("Result", tool["result_hash"])]
    return Step("fingerprint", "Fingerprint", f"Arguments {by}.", "ok", facts)


def repeats_step(evidence: Evidence) -> Step:
    """List the calls of the same run with the same fingerprint."""
    tool = evidence.tool or {}
    if tool["arguments_hash"] is None:
        return Step("repeats", "Repeats", "Without arguments repeats can't be told.", "none")
    ids = [row["span_id"] for row in evidence.repeats]
    turn = ids.index(tool["span_id"]) + 1 if tool["span_id"] in ids else None
    facts = [
        Fact("Same call in a row", tool["consecutive_repeat"], "count"),
        Fact("Counted as a repeat", "yes" if tool["is_repeat"] else "no"),
        Fact("Attempt", tool["attempt"], "count"),
    ]
    links = [
        Link(tool["trace_id"], row["span_id"], f"{at}. of {len(ids)}")
        for at, row in enumerate(evidence.repeats[:_LISTED], start=1)
        if row["span_id"] != tool["span_id"]
    ]
    if len(ids) <= 1:
        return Step("repeats", "Repeats", "The only call of its kind in this run.", "ok", facts)
    says = f"Call {turn} of {len(ids)} in this run with the same tool and arguments"
    says += ", and counted as a repeat." if tool["is_repeat"] else ", and not counted as a repeat."
    return Step(
        "repeats", "Repeats", says, "note" if tool["is_repeat"] else "ok", facts, links=links
    )


def outcome_step(evidence: Evidence) -> Step:
    """Say whether the tool failed, and how that is known."""
    tool = evidence.tool or {}
    facts = [Fact("Status", tool["status"]), Fact("Error type", tool["error_type"]),
             Fact("Denied", "yes" if tool["is_denied"] else "no")]  # fmt: skip
    if tool["is_denied"]:
        return Step("outcome", "Outcome", "Denied, so it did not run and is no error.", "ok", facts)
    says = "Failed." if tool["is_error"] else "No error."
    return Step("outcome", "Outcome", says, "note" if tool["is_error"] else "ok", facts)


def loop_step(evidence: Evidence) -> Step:
    """List the calls of an agent run and which of them make its loop length."""
    run, span = evidence.run or {}, evidence.span
    own = [call for call in evidence.calls if call["agent_span_id"] == span["span_id"]]
    rows = [[call["span_id"], call["name"], _counted(call), call["cost_pico"]] for call in own]
    counted = sum(_counted(call) == "counted" for call in own)
    columns = (Column("Span"), Column("Call"), Column("Loop"), Column("Cost", "pico_usd"))
    facts = [
        Fact("Loop length", run["loop_length"], "count"),
        Fact("Model calls", run["model_calls"], "count"),
        Fact("Tool calls", run["tool_calls"], "count"),
        Fact("Limit", run["iteration_limit"], "count"),
        Fact("Ended", run["termination_reason"]),
        Fact("Ended by", run["termination_evidence"]),
    ]
    if run["loop_evidence"] == "tool_groups":
        says = (
            f"At least {shown(run['loop_length'], 'count')}: its calls are not shown one by one, "
        )
        says += "so groups of tool executions are counted."
        return Step(
            "loop", "Loop length", says, "note", facts, [Table(columns, rows)] if rows else []
        )
    if not own:
        says = (
            "No model call of this run was seen: its loop length is unknown, or its agents' below."
        )
        return Step("loop", "Loop length", says, "note", facts)
    check = _agrees("The counted calls are the loop length", counted, run["loop_length"])
    says = f"{count(counted, 'call')} of {len(own)} in this run counted, those of sub-agents apart."
    table = Table(columns, rows)
    return Step("loop", "Loop length", says, check.verdict, facts, [table], [check])


def _counted(call: Mapping[str, Any]) -> str:
    if not call["is_billed"]:
        return f"no: {call['billed_reason']}"
    if call["kind"] == "embedding":
        return "no: an embedding"
    if call["kind"] != "llm":
        return "no: a sum of calls that were not reported"
    if not call["is_decision"]:
        return "no: a side call, such as a guardrail's, a title or compaction"
    if call["is_retry"]:
        return "no: another attempt of the same call"
    return "counted"


def run_cost_step(evidence: Evidence) -> Step:
    """Add up what the calls of a run and of the runs below it cost."""
    run, span = evidence.run or {}, evidence.span
    below = [call for call in evidence.below() if call["is_billed"]]
    below += [c for c in evidence.calls if c["span_id"] == span["span_id"] and c["is_billed"]]
    own = [call for call in below if call["agent_span_id"] == span["span_id"]]
    checks = [
        _cost_check("Its own calls add up to its own cost", own, run["own_cost_pico"]),
        _cost_check("All calls below add up to its cost", below, run["cost_pico"]),
    ]
    facts = [
        Fact("Own cost", run["own_cost_pico"], "pico_usd"),
        Fact("With sub-agents", run["cost_pico"], "pico_usd"),
        Fact("Spent on repeats", run["thrash_cost_pico"], "pico_usd"),
    ]
    unpriced = sum(call["cost_pico"] is None for call in below)
    says = f"{count(len(below), 'billed call')} below" + (
        f", {unpriced} of them without a price." if unpriced else "."
    )
    verdict = worst([*(check.verdict for check in checks), "note" if unpriced else "ok"])
    return Step("run_cost", "Cost of the run", says, verdict, facts, checks=checks)


def below_step(evidence: Evidence) -> Step:
    """Say what the calls below a span cost that is neither call nor run."""
    below = [call for call in evidence.below() if call["is_billed"]]
    known = [call["cost_pico"] for call in below if call["cost_pico"] is not None]
    if not below:
        return Step("below", "Cost below", "No billed model call happened in this step.", "none")
    says = f"{count(len(below), 'billed call')} below; each proves its own part."
    facts = [Fact("Cost of all below", sum(known) if known else None, "pico_usd")]
    links = [Link(evidence.span["trace_id"], c["span_id"], c["name"]) for c in below[:_LISTED]]
    return Step("below", "Cost below", says, "ok" if len(known) == len(below) else "note", facts,
                links=links)  # fmt: skip


def _cost_check(claim: str, calls: list[dict[str, Any]], stored: int | None) -> Check:
    known = [call["cost_pico"] for call in calls if call["cost_pico"] is not None]
    if calls and not known:
        return Check(claim, "none", "none of them has a price")
    return _agrees(claim, sum(known), stored, is_money=True)


def _agrees(claim: str, ours: int, stored: int | None, *, is_money: bool = False) -> Check:
    def text(value: int | None) -> str:
        return "unknown" if value is None else usd(value) if is_money else f"{value:,}"

    if ours == (stored or 0):
        return Check(claim, "ok", text(ours))
    return Check(claim, "failed", f"{text(ours)}, stored {text(stored)}")
