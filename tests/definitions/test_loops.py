"""An iteration is one model decision inside one invocation, whatever the dialect calls the two."""

from __future__ import annotations

from typing import Any

from tests.definitions.spans import agent, call, plain, tool
from tests.telemetry import one, send

from taximeter_collector.store.store import Store

LOOPS = "select list(loop_length order by agent_name) from agent_runs"


def test_a_sub_agents_decisions_belong_to_its_own_loop(store: Store) -> None:
    send(store, [[agent(1, name="a"), call(2, at=100), tool(3, at=300, took=9000), agent(4, 3, name="b"),
                  call(5, 4, at=400), call(6, 4, at=600), call(7, at=9500)]])  # fmt: skip
    assert one(store, LOOPS) == ([2, 2],)
    assert one(store, "select loop_length, model_calls from requests") == (2, 4)


def test_a_crewai_agent_has_the_name_of_its_role(store: Store) -> None:
    """OpenInference tells it in the span's name alone."""
    send(store, [[plain(1, name="Senior Researcher._execute_core", openinference__span__kind="AGENT"), call(2, at=0)]])  # fmt: skip
    assert one(store, "select any_value(agent_name) from agent_runs") == ("Senior Researcher",)


def test_embeddings_guardrails_retrieval_and_compaction_are_no_decisions(store: Store) -> None:
    embedding = call(3, at=300, gen_ai__operation__name="embeddings")
    guard = plain(4, 1, openinference__span__kind="GUARDRAIL")
    send(store, [[agent(1), call(2, at=100), embedding, guard, call(5, 4, at=500),
                  plain(6, 1, name="claude_code.compaction"), call(7, 6, at=700)]])  # fmt: skip
    assert one(store, "select loop_length, model_calls from requests") == (1, 4)
    assert one(store, "select count(*) filter (is_decision) from calls") == (1,)


def test_steps_between_agent_and_call_change_nothing(store: Store) -> None:
    steps = [
        plain(10 + n, 1, name="execute_event_loop_cycle", event_loop__cycle_id=n) for n in range(3)
    ]
    send(store, [[agent(1), *steps, *(call(20 + n, 10 + n, at=200 * n) for n in range(3))]])
    assert one(store, "select loop_length from agent_runs") == (3,)


def test_without_an_agent_the_workflow_is_the_invocation(store: Store) -> None:
    workflow = plain(1, traceloop__span__kind="workflow", traceloop__entity__name="travel")
    task = plain(2, 1, traceloop__span__kind="task")
    send(store, [[workflow, task, call(3, 2, at=100), call(4, 2, at=300)]])
    assert one(store, "select kind, loop_length from agent_runs") == ("workflow", 2)


def test_without_agent_and_workflow_the_root_is_the_invocation(store: Store) -> None:
    send(store, [[plain(1, langsmith__span__kind="chain"), plain(2, 1, langsmith__span__kind="chain"),
                  call(3, 2, at=100), call(4, 2, at=300), call(5, 2, at=500)]])  # fmt: skip
    assert one(store, "select kind, loop_length, model_calls from agent_runs") == ("chain", 3, 3)


def test_a_lone_call_is_a_loop_of_one_and_no_run(store: Store) -> None:
    send(store, [[call(1, 0, at=0)]])
    assert one(store, "select loop_length from requests") == (1,)
    assert one(store, "select count(*) from agent_runs") == (0,)


def test_a_sub_agent_without_a_span_is_the_tool_call_that_started_it(store: Store) -> None:
    scope = "com.anthropic.claude_code.tracing"
    usage: dict[str, Any] = {"model": "claude-sonnet-4-5", "input_tokens": 10, "output_tokens": 5}
    send(store, [[plain(1, name="claude_code.interaction", scope=scope),
                  plain(2, 1, at=100, end=200, name="claude_code.llm_request", scope=scope, **usage),
                  plain(3, 1, at=300, end=900, name="claude_code.tool", scope=scope, tool_name="Agent"),
                  plain(4, 3, at=400, end=500, name="claude_code.llm_request", scope=scope, agent_id="a1", **usage),
                  plain(5, 3, at=600, end=700, name="claude_code.llm_request", scope=scope, agent_id="a1", **usage),
                  plain(6, 1, at=950, end=990, name="claude_code.llm_request", scope=scope, **usage),
                  plain(7, 1, at=995, end=999, name="claude_code.llm_request", scope=scope, query_source="generate_session_title", **usage)]])  # fmt: skip
    assert one(store, "select list(loop_length order by kind) from agent_runs") == ([2, 2],)


def test_an_invocation_whose_calls_nobody_shows_has_a_lower_bound(store: Store) -> None:
    """Two tools at once, then one: two turns that asked and one that answered."""
    run = agent(1, gen_ai__request__model="claude-sonnet-4-5", gen_ai__usage__input_tokens=9, gen_ai__usage__output_tokens=9)  # fmt: skip
    send(
        store,
        [[run, tool(2, at=100, took=80, q="a"), tool(3, at=120, took=80, q="b"), tool(4, at=400)]],
    )
    assert one(store, "select loop_length, loop_evidence from agent_runs") == (3, "tool_groups")


def test_nothing_seen_is_unknown_and_not_zero(store: Store) -> None:
    send(store, [[agent(1), tool(2, at=100)]])
    assert one(store, "select loop_length from requests") == (None,)
    assert one(store, "select sum(loop_length_requests), sum(requests) from usage_minute") == (0, 1)


DELEGATED = "select tool_calls, tool_errors, loop_length from requests"


def test_a_tool_that_starts_an_agent_hands_work_over_and_is_no_tool_call(store: Store) -> None:
    send(store, [[agent(1), call(2, at=0), tool(3, at=200, name="ask", took=5000, failed=True), agent(4, 3, name="sub"),
                  call(5, 4, at=300), tool(6, 4, at=600), call(7, 4, at=900), call(8, at=6000)]])  # fmt: skip
    assert one(store, DELEGATED) == (1, 0, 2)
    assert one(
        store, "select list(tool_name) filter (is_delegation), count(*) from tool_calls"
    ) == (["ask"], 2)
    assert one(store, "select sum(tool_calls), sum(failed_tool_calls) from usage_minute") == (1, 0)


def test_tool_calls_that_an_older_version_derived_stay_in_their_minute(store: Store) -> None:
    send(store, [[agent(1), call(2, at=0), tool(3, at=200)]])
    with store.cursor() as cursor:
        cursor.execute("update rollup.tool_call set is_delegation = null")
    send(store, [[agent(1, trace=2), call(2, at=0, trace=2), tool(3, at=200, trace=2)]])
    assert one(store, "select sum(tool_calls) from usage_minute") == (2,)


def test_a_loop_without_an_agent_span_inside_a_tool_is_a_delegation_a_mere_call_is_not(
    store: Store,
) -> None:
    loop = [tool(3, at=200, took=5000), call(5, 3, at=300), tool(6, 3, at=600, name="other")]
    send(store, [[agent(1), call(2, at=0), *loop, tool(7, at=6000, took=900), call(8, 7, at=6100)]])
    assert one(store, DELEGATED)[:2] == (2, 0)


def test_tools_inside_a_call_that_did_not_ask_for_them_make_it_several(store: Store) -> None:
    """Automatic function calling: one span, several calls, the last one's tokens."""
    send(store, [[agent(1), call(2, at=0, took=9000, finish="stop"), tool(3, 2, at=100), tool(4, 2, at=900, q="y")]])  # fmt: skip
    assert one(store, "select model_calls, loop_length, cost_usd, cost_quality from requests") == (None, 3, None, "unpriced")  # fmt: skip
    assert one(store, "select model_calls from agent_runs") == (None,)
    assert one(store, "select failed_calls from requests") == (None,)
    (advice,) = one(store, "select how_to_price from unpriced_models")
    assert advice.startswith("one span stands for several calls")
    assert one(store, "select prompt_tokens, basis_evidence from calls") == (
        None,
        "last_of_several",
    )


def test_a_tool_that_starts_while_the_call_that_asked_for_it_still_streams_is_its_own(
    store: Store,
) -> None:
    send(store, [[agent(1), call(2, at=0, took=900, finish="tool-calls"), tool(3, 2, at=800), call(4, at=1000, finish="stop")]])  # fmt: skip
    assert one(store, "select model_calls, loop_length from requests") == (2, 2)
