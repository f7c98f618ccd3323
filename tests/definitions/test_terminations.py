"""Why a run ended: said by its error, its limit, its last finish reason, or by what did not come."""

from __future__ import annotations

from typing import Any

import pytest
from tests.definitions.spans import agent, call, plain, tool
from tests.telemetry import Span, one, rows, send, wipe

from taximeter_collector.store.store import Store

END = "select termination_reason, termination_evidence from agent_runs"


FINISHES = {
    "stop": "completed", '["end_turn"]': "completed", "STOP": "completed", "FINISH_REASON_STOP": "completed",
    "max_tokens": "truncated", "length": "truncated", "MAX_TOKENS": "truncated", "max_output_tokens": "truncated",
    "SAFETY": "refused", "content_filter": "refused", "content-filter": "refused", "refusal": "refused",
    "guardrail_intervened": "guardrail", "error": "error", "tool_calls": "unknown",
}  # fmt: skip
ERRORS = {
    "agents.exceptions.MaxTurnsExceeded": "iteration_cap", "langgraph.errors.GraphRecursionError": "iteration_cap",
    "pydantic_ai.exceptions.UsageLimitExceeded": "iteration_cap", "AgentMaxStepsError": "iteration_cap",
    "error_max_turns": "iteration_cap", "LlmCallsLimitExceededError": "iteration_cap",
    "RecursionError": "error", "InputGuardrailTripwireTriggered": "guardrail", "ValueError": "error",
    "litellm.BudgetExceededError": "cost_budget", "CancelledError": "cancelled",
}  # fmt: skip


@pytest.fixture(scope="module")
def ends(session_store: Store) -> dict[str, tuple[str, str]]:
    """Why the run and the request of every finish reason and every error ended, a trace each."""
    wipe(session_store)
    traces = dict(enumerate([*FINISHES, *ERRORS], 1))
    spans: list[Span] = []
    for trace, said in traces.items():
        if trace <= len(FINISHES):
            spans += [agent(1, trace=trace), call(2, at=0, finish=said, trace=trace)]
        else:
            spans.append(agent(1, trace=trace, failed=True, error__type=said))
            spans.append(call(2, at=0, finish="tool_use", trace=trace))
    send(session_store, [spans])
    found = rows(session_store, "select trace_id, a.termination_reason, r.termination_reason"
                 " from agent_runs a join requests r on request_id = trace_id")  # fmt: skip
    return {traces[int(trace, 16)]: (run, request) for trace, run, request in found}


@pytest.mark.parametrize(("finish", "reason"), FINISHES.items())
def test_the_last_finish_reason_tells(
    ends: dict[str, tuple[str, str]], finish: str, reason: str
) -> None:
    assert ends[finish] == (reason, reason)


@pytest.mark.parametrize(("error", "reason"), ERRORS.items())
def test_the_error_of_the_run_tells(
    ends: dict[str, tuple[str, str]], error: str, reason: str
) -> None:
    assert ends[error][0] == reason


@pytest.mark.parametrize(
    "finish", ["tool_use", "tool_calls", "tool_call", "tool-calls", "stop", ""]
)
def test_a_loop_that_stops_while_the_model_asks_for_a_tool_was_stopped(store: Store, finish: str) -> None:  # fmt: skip
    """Also where the finish reason says nothing, and the tool was run after the last decision."""
    spans = [span for n in range(3) for span in (call(10 + n, at=200 * n, finish=finish), tool(20 + n, at=200 * n + 120, q=str(n)))]  # fmt: skip
    send(store, [[agent(1), *spans]])
    assert one(store, END) == ("iteration_cap", "stopped_at_tool_request")


def test_a_stated_limit_tells_only_when_the_model_wanted_to_go_on(store: Store) -> None:
    limit: dict[str, Any] = {"taximeter__limit__iterations": 2}
    send(store, [[agent(1, name="a", trace=1, **limit), call(2, at=0), call(3, at=200, finish="stop")],
                 [agent(1, name="b", trace=2, **limit), call(2, at=0, trace=2), call(3, at=200, finish="tool_use", trace=2)]])  # fmt: skip
    found = "select list((termination_reason, termination_evidence) order by agent_name) from agent_runs"  # fmt: skip
    assert one(store, found) == ([("completed", "finish_reason"), ("iteration_cap", "limit")],)


def test_an_answer_by_tool_completes_and_is_no_execution(store: Store) -> None:
    answer = Span(1, 4, 1, 400, 450, (("openinference.span.kind", "TOOL"), ("tool.name", "final_answer")),
                  "openinference.instrumentation.smolagents")  # fmt: skip
    send(store, [[agent(1), call(2, at=0), tool(5, at=150), call(3, at=300, finish="tool_calls"), answer]])  # fmt: skip
    assert one(store, END) == ("completed", "answer")
    assert one(store, "select count(*) from tool_calls") == (1,)


def test_a_run_that_hands_over_says_so_and_the_request_ends_as_the_last_run(store: Store) -> None:
    send(store, [[plain(1, openinference__span__kind="CHAIN"), agent(2, 1, name="a", end=900), call(3, 2, at=0),
                  tool(4, 2, at=200, name="transfer_to_researcher"), agent(5, 1, name="b", end=5000),
                  call(6, 5, at=1000, finish="max_tokens")]])  # fmt: skip
    assert one(store, "select list(termination_reason order by agent_name) from agent_runs") == (["handoff", "truncated"],)  # fmt: skip
    assert one(store, "select termination_reason, tool_calls from requests") == ("truncated", 0)


def test_a_wrapper_ends_as_its_sub_agent(store: Store) -> None:
    sub = agent(2, 1, name="b", failed=True, error__type="error", message="x")
    send(store, [[agent(1, name="a"), sub, call(3, 2, at=0)]])
    assert one(store, "select termination_reason, is_error from requests") == ("error", True)


def test_a_request_whose_root_never_came_is_abandoned_after_ten_minutes(store: Store) -> None:
    send(store, [[tool(2, 1, at=0)]])
    assert one(store, "select termination_reason from requests") == ("unknown",)
    with store.cursor() as cursor:
        cursor.execute("update rollup.request set last_received_at = now() - interval 11 minutes")
    assert one(store, "select termination_reason from requests") == ("abandoned",)


def test_plumbing_alone_is_no_request(store: Store) -> None:
    """Yet its spans are kept, and it becomes one when an agent's span arrives."""
    send(store, [[plain(1, http__request__method="POST")]])
    assert one(store, "select count(*) from requests") == (0,)
    assert one(store, "select coalesce(sum(requests), 0) from usage_minute") == (0,)
    send(store, [[call(2, at=100)]])
    assert one(store, "select model_calls, span_count from requests") == (1, 2)


def test_without_a_finish_reason_only_the_runs_own_word_tells(store: Store) -> None:
    send(store, [[agent(1), call(2, at=0)]])
    assert one(store, END) == ("unknown", "no_finish_reason")


def test_a_call_that_runs_tools_inside_hides_decisions(store: Store) -> None:
    """Three tools one after the other inside one span: at least four decisions, the last unseen."""
    inside = [tool(10 + n, 2, at=100 * n + 10, q=str(n)) for n in range(3)]
    send(store, [[agent(1), call(2, at=0, took=900, finish="stop"), *inside]])
    assert one(store, "select loop_length, loop_evidence, termination_reason from agent_runs") == (4, "tool_groups", "unknown")  # fmt: skip
