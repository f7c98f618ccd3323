"""Where a span's numbers come from: stored rows in, an ordered list of steps out.

`gather` asks the read API, `prove` is pure; command, page and JSON show the same `Proof`. What the
steps are: docs/explain.md.
"""

from __future__ import annotations

from taximeter.pricing import Catalog
from taximeter_collector.explain import billing_steps, cost_steps, reading_steps, work_steps
from taximeter_collector.explain.bounds_step import bounds_step
from taximeter_collector.explain.evidence import (
    Ask,
    Evidence,
    NotExplainable,
    find_trace,
    gather,
)
from taximeter_collector.explain.proof import Proof, Step, count, shown, worst
from taximeter_collector.explain.replay import Replay

__all__ = ["Ask", "Evidence", "NotExplainable", "Proof", "Replay", "find_trace", "gather", "prove"]


def prove(evidence: Evidence, catalog: Catalog) -> Proof:
    """Return the steps that lead from what the emitter sent to the stored numbers."""
    steps = [reading_steps.dialect_step(evidence)]
    summary = ""
    if evidence.call is not None:
        steps += _call_steps(evidence, catalog)
        summary = _call_summary(evidence)
    if evidence.tool is not None:
        steps += [
            work_steps.fingerprint_step(evidence),
            work_steps.repeats_step(evidence),
            work_steps.outcome_step(evidence),
        ]
        summary = f"{count(len(evidence.repeats) or 1, 'call')} of this tool with these arguments"
    if evidence.run is not None:
        steps += [work_steps.loop_step(evidence), work_steps.run_cost_step(evidence)]
        cost = shown(evidence.run["cost_pico"], "pico_usd")
        summary = f"cost {cost}, loop length {shown(evidence.run['loop_length'], 'count')}"
    if len(steps) == 1:
        steps.append(work_steps.below_step(evidence))
        summary = steps[-1].says.rstrip(".")
    span = evidence.span
    return Proof(
        trace_id=span["trace_id"],
        span_id=span["span_id"],
        name=span["name"] or "",
        kind=span["kind"] or "other",
        summary=summary,
        verdict=worst([step.verdict for step in steps]),
        steps=steps,
    )


def _call_steps(evidence: Evidence, catalog: Catalog) -> list[Step]:
    priced = billing_steps.look_up(catalog, evidence)
    steps = [
        reading_steps.usage_step(evidence),
        reading_steps.basis_step(evidence),
        reading_steps.invariants_step(evidence),
        billing_steps.billed_step(evidence),
        billing_steps.price_step(evidence, priced),
        cost_steps.arithmetic_step(evidence, priced),
    ]
    bounds = bounds_step(evidence, cost_steps.prices_of(priced))
    savings = cost_steps.savings_step(evidence, priced)
    return [*steps, *(step for step in (bounds, savings) if step is not None)]


def _call_summary(evidence: Evidence) -> str:
    call = evidence.call or {}
    cost = shown(call["cost_pico"], "pico_usd")
    words = [f"cost {cost}" if call["cost_pico"] is not None else "cost unknown",
             call["cost_quality"]]  # fmt: skip
    low, high = call["cost_lower_bound_pico"], call["cost_upper_bound_pico"]
    if low is not None:
        words.append(f"at least {shown(low, 'pico_usd')}")
    if high is not None:
        words.append(f"at most {shown(high, 'pico_usd')}")
    if not call["is_billed"]:
        words.append("not billed here")
    return ", ".join(filter(None, words))
