"""A proof says where each number comes from, and finds a number that does not follow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
from tests.corpus.archive import scenarios
from tests.rollups.arrival import spans_of

from taximeter.pricing import Catalog, load_catalog
from taximeter_collector.dialects import RULE_FILES
from taximeter_collector.explain import Evidence, Replay, billing_steps, cost_steps, gather, prove
from taximeter_collector.explain.proof import Check, Proof, Step
from taximeter_collector.explain.reading_steps import invariants_step
from taximeter_collector.explain.replay import RULES_SQL
from taximeter_collector.explain.text import as_text
from taximeter_collector.store.store import Store

from .conftest import Bench, Trace, chat, recorded

DOCUMENTED = ("openinference-js-anthropic",)
AGENT = {"gen_ai.operation.name": "invoke_agent"}


def step(proof: Proof, name: str) -> Step:
    (found,) = [step for step in proof.steps if step.name == name]
    return found


def fact(step: Step, label: str) -> object:
    return {fact.label: fact.value for fact in step.facts}[label]


def check(step: Step, claim: str) -> Check:
    (found,) = [check for check in step.checks if check.claim == claim]
    return found


def all_evidence(bench: Bench) -> list[Evidence]:
    """Return the evidence about every call, read again in one go."""
    calls = {(c["trace_id"], c["span_id"]): c for c in bench.ask("select * from calls")}
    spans = bench.ask("select * from spans where (trace_id, span_id) in"
                      " (select (trace_id, span_id) from calls)")  # fmt: skip
    readings = bench.replay.read(spans, bench.ask(RULES_SQL))
    return [
        Evidence(span, reading, calls[span["trace_id"], span["span_id"]], None, None, (), {}, (),
                 (), None)
        for span, reading in zip(spans, readings, strict=True)
    ]  # fmt: skip


CLIENTS = sorted(
    scenario.client
    for scenario in scenarios().values()
    if scenario.name == "agent_loop" and any(one.signal == "traces" for one in scenario.exports)
)


@pytest.fixture(scope="module")
def corpus(
    tmp_path_factory: pytest.TempPathFactory, catalog: Catalog, replay: Replay
) -> Iterator[Bench]:
    """A store that holds the agent loop of every real client."""
    with closing(Store(tmp_path_factory.mktemp("corpus"))) as store:
        bench = Bench(store, catalog, replay)
        bench.send([data for client in CLIENTS for data in recorded(client)])
        yield bench


def test_the_arithmetic_of_every_call_of_the_corpus_re_adds_to_its_cost(corpus: Bench) -> None:
    """Real clients, every call: prices from the list, times the counts, is what SQL stored."""
    evidence = all_evidence(corpus)
    assert len(evidence) > 90
    priced = 0
    for one in evidence:
        assert one.call is not None
        found = billing_steps.look_up(corpus.catalog, one)
        arithmetic = cost_steps.arithmetic_step(one, found)
        assert arithmetic.verdict != "failed", (one.span["name"], arithmetic)
        assert invariants_step(one).verdict != "failed", (one.span["name"], invariants_step(one))
        savings = cost_steps.savings_step(one, found)
        assert savings is None or savings.verdict == "ok", savings
        for table in arithmetic.tables:
            *parts, total = table.rows
            assert sum(row[-1] for row in parts) == total[-1] == one.call["cost_pico"]  # type: ignore[misc]
            priced += 1
    assert priced > 80


def test_the_dialect_names_the_line_of_the_rule(bench: Bench) -> None:
    bench.send(recorded("openinference-anthropic"))
    proof = bench.only("name = 'messages.create' order by start_time limit 1")
    found = str(fact(step(proof, "dialect"), "Found by"))
    place = re.search(r"\(dialects/(\w+\.csv):(\d+)\)", found)
    assert place is not None
    text = resources.files("taximeter_collector.dialects").joinpath(place[1]).read_text()
    line = text.splitlines()[int(place[2]) - 1]
    assert line.startswith("openinference,scope,openinference.instrumentation.")


def test_an_input_smaller_than_its_cache_leaves_it_out_and_says_so(bench: Bench) -> None:
    usage = {"gen_ai.usage.cache_read.input_tokens": 100_000,
             "gen_ai.usage.cache_creation.input_tokens": 2_000}  # fmt: skip
    bench.send([Trace().span(1, chat(50, 500, usage)).body()])
    proof = bench.only("true")
    basis = step(proof, "basis")
    assert "cache_read 100,000 + cache_write 2,000 > input 50" in basis.says
    assert "leaves cached tokens out" in basis.says
    assert fact(basis, "Basis") == "exclusive"
    stated = check(step(proof, "invariants"), "The stated input is in the parts")
    assert (stated.verdict, stated.numbers) == ("ok", "input 50 + cached 102,000 = 102,050")
    assert proof.verdict == "note"  # the lifetime of the write is not told


def test_an_emitter_known_to_be_exclusive_is_named_with_its_rule(bench: Bench) -> None:
    usage = {"gen_ai.usage.cache_read.input_tokens": 40}
    trace = Trace(scope="openlit.otel.tracing").span(1, chat(50, 5, usage))
    bench.send([trace.body()])
    says = step(bench.only("true"), "basis").says
    assert "openlit.*" in says and "dialects/exclusive.csv:" in says


def test_what_was_there_and_ignored_is_shown_and_a_disagreement_flagged(bench: Bench) -> None:
    more = {"gen_ai.usage.prompt_tokens": 99, "gen_ai.usage.completion_tokens": 5}  # fmt: skip
    bench.send([Trace().span(1, chat(50, 5, more)).body()])
    usage = step(bench.only("true"), "usage")
    rows = {row[0]: row for row in usage.tables[0].rows}
    assert rows["stated_input"][1:] == [
        "gen_ai.usage.input_tokens", "50", "gen_ai.usage.prompt_tokens = 99 (disagrees)",
    ]  # fmt: skip
    assert rows["stated_output"][3] == "gen_ai.usage.completion_tokens = 5"
    assert usage.verdict == "note" and "stated_input" in usage.says


def test_the_providers_own_usage_is_shown_as_it_came(bench: Bench) -> None:
    raw = {"input_tokens": 50, "cache_read_input_tokens": 1000, "output_tokens": 5}
    more = {"taximeter.usage": json.dumps(raw), "taximeter.usage_shape": "anthropic"}  # fmt: skip
    bench.send([Trace().span(1, chat(1050, 5, more)).body()])
    proof = bench.only("true")
    usage = step(proof, "usage")
    assert json.loads(usage.verbatim) == raw
    assert fact(usage, "Shape") == "anthropic"
    assert fact(step(proof, "basis"), "Basis") == "exclusive"
    assert proof.verdict == "ok"


def test_a_call_seen_twice_links_both_ways(bench: Bench) -> None:
    same = {"gen_ai.response.id": "msg_1"}
    trace = Trace().span(1, AGENT)
    trace.scope("opentelemetry.instrumentation.genai.anthropic").span(2, chat(9, 5, same), parent=1)
    trace.scope("@traceloop/x").span(3, chat(9, 5, same), parent=1)
    bench.send([trace.body()])
    kept, left = (bench.only(f"span_id = '{n:016x}'") for n in (2, 3))
    assert [link.span_id for link in step(left, "billed").links] == [f"{2:016x}"]
    assert "same response id" in step(left, "billed").says
    assert [link.span_id for link in step(kept, "billed").links] == [f"{3:016x}"]


def test_a_sum_names_the_calls_that_it_repeats(bench: Bench) -> None:
    trace = Trace().span(1, {**chat(30, 3), **AGENT})
    trace.span(2, chat(10, 1), parent=1).span(3, chat(20, 2), parent=1, start=2)
    bench.send([trace.body()])
    billed = step(bench.only(f"span_id = '{1:016x}'"), "billed")
    assert "sum of the calls below it" in billed.says
    assert [link.span_id for link in billed.links] == [f"{2:016x}", f"{3:016x}"]
    assert fact(billed, "Cost of the calls below") == 30 * 3_000_000 + 3 * 15_000_000


def test_a_sum_without_calls_below_says_that_it_is_one(bench: Bench) -> None:
    bench.send([Trace().span(1, {**chat(10, 1), **AGENT}).body()])
    arithmetic = step(bench.only("true"), "arithmetic")
    assert str(fact(arithmetic, "Quality")).startswith("aggregate: priced from a total")
    assert arithmetic.verdict == "note"


def test_an_unpriced_call_says_what_is_missing_and_what_to_do(bench: Bench) -> None:
    bench.send([Trace().span(1, chat(10, 1, {"gen_ai.request.model": "own-model"})).body()])
    proof = bench.only("true")
    assert step(proof, "arithmetic").says == "No cost: a price of the model is missing."
    assert "[[price]]" in str(fact(step(proof, "arithmetic"), "What to do"))
    assert "No price list knows this model" in step(proof, "price").says


def test_a_call_without_counts_says_which_are_missing(bench: Bench) -> None:
    attributes = {k: v for k, v in chat(0, 0).items() if "usage" not in k}
    bench.send([Trace().span(1, attributes).body()])
    proof = bench.only("true")
    assert "the count of uncached_input_tokens" in step(proof, "arithmetic").says
    assert "unknown, not zero" in step(proof, "usage").says


def test_a_refused_call_costs_nothing_and_says_why(bench: Bench) -> None:
    attributes = {k: v for k, v in chat(0, 0).items() if "usage" not in k}
    bench.send([Trace().span(1, attributes, error="RateLimitError").body()])
    assert "bills nothing" in step(bench.only("true"), "arithmetic").says


def test_the_senders_cost_stands_beside_ours_with_the_difference(bench: Bench) -> None:
    trace = Trace().span(1, chat(1_000_000, 0, {"gen_ai.cost.total_cost": "6.6"}))
    bench.send([trace.body()])
    beside = fact(step(bench.only("true"), "arithmetic"), "Sender's own cost")
    assert beside == "$6.6 (+10.00% against ours)"  # $6 a million beyond 200,000


def test_tokens_on_another_model_are_a_line_at_its_price(bench: Bench) -> None:
    """An advisor's tokens are in the cost and in no count of the call."""
    advice = {"type": "advisor_message", "model": "claude-opus-4-5", "input_tokens": 100,
              "output_tokens": 10}  # fmt: skip
    raw = {"input_tokens": 50, "cache_read_input_tokens": 20, "output_tokens": 5,
           "iterations": [{"type": "message", "input_tokens": 50, "output_tokens": 5}, advice]}  # fmt: skip
    more = {"taximeter.usage": json.dumps(raw), "taximeter.usage_shape": "anthropic"}
    bench.send([Trace().span(1, chat(70, 5, more)).body()])
    proof = bench.only("true")
    rows = {row[0]: row for row in step(proof, "arithmetic").tables[0].rows}
    assert rows["on claude-opus-4-5"][3] == 100 * 5_000_000 + 10 * 25_000_000
    assert proof.verdict == "ok", proof


def test_a_stated_cost_that_counts_says_so_and_shows_the_tokens(
    tmp_path: Path, replay: Replay
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text("[[reported]]\nmatch.dialect = 'otel_genai'\nuse = 'always'\n")
    with closing(Store(tmp_path / "data", prices)) as store:
        bench = Bench(store, load_catalog(prices), replay)
        bench.send([Trace().span(1, chat(10, 1, {"gen_ai.cost.total_cost": "0.5"})).body()])
        arithmetic = step(bench.only("true"), "arithmetic")
    assert arithmetic.verdict == "note" and arithmetic.says.startswith("$0.5, as the sender states")
    assert fact(arithmetic, "From the tokens") == 45_000_000
    assert [one.verdict for one in arithmetic.checks] == ["ok", "ok"]


def test_a_cost_that_does_not_follow_is_a_failure(bench: Bench) -> None:
    bench.send([Trace().span(1, chat(10, 1)).body()])
    (ids,) = bench.ask("select trace_id, span_id from spans")
    found = gather(bench.ask, bench.replay, ids["trace_id"], ids["span_id"])
    assert found.call is not None
    wrong = replace(found, call=found.call | {"cost_pico": 45_000_001})
    proof = prove(wrong, bench.catalog)
    assert proof.verdict == "failed"
    failed = check(step(proof, "arithmetic"), "The sum is the stored cost")
    assert (failed.verdict, failed.numbers) == ("failed", "$0.000045, stored $0.000045000001")


def test_counts_that_do_not_add_up_are_a_failure(bench: Bench) -> None:
    bench.send([Trace().span(1, chat(10, 1)).body()])
    (ids,) = bench.ask("select trace_id, span_id from spans")
    found = gather(bench.ask, bench.replay, ids["trace_id"], ids["span_id"])
    assert found.call is not None
    wrong = replace(found, call=found.call | {"unclassified_input_tokens": 11})
    broken = invariants_step(wrong)
    assert broken.verdict == "failed"
    assert check(broken, "The parts of the prompt are the prompt").numbers == "11 = 11, stored 10"
    again = check(broken, "Read again, the span gives the same")
    assert again.numbers == "unclassified_input_tokens 10, stored 11"


def test_a_repeated_tool_call_lists_its_twins(bench: Bench) -> None:
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look",
            "gen_ai.tool.call.arguments": '{"q": 1}'}  # fmt: skip
    trace = Trace().span(1, AGENT)
    for number in (2, 3, 4):
        trace.span(number, tool, parent=1, start=number)
    bench.send([trace.body()])
    proof = bench.only(f"span_id = '{3:016x}'")
    repeats = step(proof, "repeats")
    assert "Call 2 of 3" in repeats.says and repeats.verdict == "note"
    assert [link.span_id for link in repeats.links] == [f"{2:016x}", f"{4:016x}"]
    assert "gen_ai.tool.call.arguments" in step(proof, "fingerprint").says


def test_a_run_lists_which_calls_make_its_loop(bench: Bench) -> None:
    trace = Trace().span(1, AGENT)
    trace.span(2, chat(10, 1), parent=1, start=1, error="RateLimitError")
    trace.span(3, chat(10, 1), parent=1, start=2).span(4, chat(10, 1), parent=1, start=4)
    trace.span(5, chat(10, 0, {"gen_ai.operation.name": "embeddings"}), parent=1, start=6)
    trace.span(6, {"gen_ai.operation.name": "guardrail"}, parent=1, start=8)
    trace.span(7, chat(10, 1), parent=6, start=8)
    bench.send([trace.body()])
    loop = step(bench.only(f"span_id = '{1:016x}'"), "loop")
    assert fact(loop, "Loop length") == 2
    assert [row[2] for row in loop.tables[0].rows] == [
        "counted", "no: another attempt of the same call", "counted", "no: an embedding",
        "no: a side call, such as a guardrail's, a title or compaction",
    ]  # fmt: skip
    assert loop.verdict == "ok"


def test_every_run_of_the_corpus_adds_up(corpus: Bench) -> None:
    """Loop length and cost of each run follow from the calls that the proof lists."""
    runs = corpus.ask("select trace_id, span_id from agent_runs order by all")
    assert len(runs) > 15
    for run in runs:
        proof = corpus.prove(run["trace_id"], run["span_id"])
        assert proof.verdict != "failed", as_text(proof)


def test_a_run_whose_calls_nobody_shows_says_at_least(bench: Bench) -> None:
    bench.send(recorded("openinference-claude-agent-sdk"))
    (run,) = bench.ask(
        "select trace_id, span_id from agent_runs where loop_evidence = 'tool_groups'"
    )
    loop = step(bench.prove(run["trace_id"], run["span_id"]), "loop")
    assert loop.verdict == "note" and loop.says.startswith("At least ")


def test_every_rule_table_is_read_from_the_collector(bench: Bench) -> None:
    """A table that is left out would be read from this release, and not with the user's rules."""
    held = {row["rule_table"] for row in bench.ask("select distinct rule_table from dialect_rules")}
    assert held >= RULE_FILES.keys()


def test_hostile_text_does_not_steer_a_terminal(bench: Bench) -> None:
    evil = "\x1b[2Jclaude\n\x9b31m\u202e"
    bench.send(
        [Trace().span(1, chat(10, 1, {"gen_ai.request.model": evil, "session.id": evil})).body()]
    )
    text = as_text(bench.only("true"))
    assert not re.search(r"[\x1b\x9b\u202e]", text)
    assert "\\x1b[2Jclaude\\n" in text


@pytest.mark.parametrize("client", CLIENTS)
def test_reading_again_gives_what_was_stored(corpus: Bench, client: str) -> None:
    """The replay is the real path: every span of real clients is read as it was on arrival."""
    sent = [
        span
        for request in spans_of(recorded(client))
        for span in request.resource_spans[0].scope_spans[0].spans
    ]
    spans = corpus.ask("select * from spans where trace_id in (select unnest($ids))",
                       {"ids": sorted({one.trace_id.hex() for one in sent})})  # fmt: skip
    assert len(spans) == len({one.span_id for one in sent}) > 0
    readings = corpus.replay.read(spans, corpus.ask(RULES_SQL))
    for span, reading in zip(spans, readings, strict=True):
        names = ("dialect", "kind", "status", "error_type", "agent_name", "session_id", "tags")
        assert {n: reading.span[n] for n in names} == {n: span[n] for n in names}


def test_the_documents_example_is_what_the_command_prints(bench: Bench) -> None:
    """Lines of rule files move, so their numbers are not compared."""
    document = (Path(__file__).parents[2] / "docs" / "explain.md").read_text(encoding="utf-8")
    shown = re.findall(r"\$ taximeter explain (\w{16})\n(.*?)```", document, re.DOTALL)
    assert shown
    bench.send([body for client in DOCUMENTED for body in recorded(client)])
    for span_id, text in shown:
        printed = as_text(bench.only(f"span_id = '{span_id}'"))
        assert _unnumbered(text) == _unnumbered(printed)


def _unnumbered(text: str) -> str:
    return re.sub(r"\.csv:\d+", ".csv:N", text)
