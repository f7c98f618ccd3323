"""A call of unknown output: the proof says in a sentence what it cost at least and at most."""

from __future__ import annotations

import pytest
from tests.corpus.archive import Scenario, scenarios
from tests.corpus.replay import as_protobuf
from tests.telemetry import follow, receive

from taximeter.pricing import Catalog
from taximeter_collector.explain import gather, prove
from taximeter_collector.explain.proof import Step
from taximeter_collector.explain.text import as_text

from .conftest import Attributes, Bench, Trace

BROKEN: Attributes = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.input_tokens": 1_000,
    "gen_ai.usage.cache_read.input_tokens": 0, "gen_ai.usage.cache_creation.input_tokens": 0,
    "taximeter.output_tokens.lower_bound": 3,
}  # fmt: skip


def bounds_of(bench: Bench, said: Attributes) -> tuple[Step, str]:
    trace = Trace()
    trace.span(1, said)
    bench.send([trace.body()])
    proof = bench.only("true")
    (found,) = [step for step in proof.steps if step.name == "bounds"]
    return found, as_text(proof)


def test_both_bounds(bench: Bench) -> None:
    step, text = bounds_of(bench, {**BROKEN, "gen_ai.request.max_tokens": 50})
    assert step.says == (
        "It cost at least $0.003045, for the prompt and the 3 output tokens that had come, and at"
        " most $0.00375, with all 50 output tokens it was allowed."
    )
    assert [check.verdict for check in step.checks] == ["ok", "ok"]
    assert "cost unknown, unpriced, at least $0.003045, at most $0.00375" in text


def test_without_a_limit_there_is_no_upper_bound(bench: Bench) -> None:
    step, _ = bounds_of(bench, BROKEN)
    assert step.says.endswith("unknown: the request set no limit of output.")
    assert [check.verdict for check in step.checks] == ["ok"]


def test_a_known_cost_has_no_such_step(bench: Bench) -> None:
    trace = Trace()
    trace.span(1, {**BROKEN, "gen_ai.usage.output_tokens": 5, "gen_ai.request.max_tokens": 50})
    bench.send([trace.body()])
    assert "bounds" not in [step.name for step in bench.only("true").steps]


CUT = [one for one in scenarios().values() if one.name == "stream_error"]


@pytest.mark.parametrize("scenario", CUT, ids=str)
def test_a_recorded_cut_stream_is_unknown_and_its_bounds_are_proven(
    bench: Bench, catalog: Catalog, scenario: Scenario
) -> None:
    receive(bench.store, [(export.signal, as_protobuf(export)) for export in scenario.exports])
    follow(bench.store)
    for call in bench.ask("select * from calls"):
        low, high = call["cost_lower_bound_pico"], call["cost_upper_bound_pico"]
        assert call["cost_pico"] is None or (low, high) == (None, None)
        assert low is None or high is None or low <= high
        evidence = gather(bench.ask, bench.replay, call["trace_id"], call["span_id"])
        steps = prove(evidence, catalog).steps
        assert all(step.verdict != "failed" for step in steps if step.name == "bounds")
