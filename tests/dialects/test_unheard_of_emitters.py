"""Emitters that no corpus holds: by the attribute families that they share with others, or by their documentation."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.telemetry import Span, Value, follow, send

from taximeter_collector.store.store import Store

NAMED: dict[str, Value] = {"gen_ai.request.model": "gpt-5-mini"}
USED: dict[str, Value] = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 10}
FAMILIES: dict[str, Mapping[str, Value]] = {
    "gen_ai without an operation": NAMED | USED,
    "its first names": NAMED | {"gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 10},
    "OpenInference without a kind": {
        "llm.model_name": "gpt-5-mini", "llm.token_count.prompt": 100, "llm.token_count.completion": 10,
    },
    "text and fractions": NAMED | {"gen_ai.usage.input_tokens": "100", "gen_ai.usage.output_tokens": 10.0},
    "another casing": {"GenAI.request.Model": "gpt-5-mini", "gen_ai.usage.inputTokens": 100, "GEN_AI.USAGE.OUTPUT_TOKENS": 10},
    "usage as JSON": NAMED | {"gen_ai.usage": '{"prompt_tokens": 100, "completion_tokens": 10}'},
    "before GenAI's conventions": {
        "llm.vendor": "OpenAI", "llm.request.model": "gpt-5-mini", "llm.usage.prompt_tokens": 100, "llm.usage.completion_tokens": 10,
    },
    "no prefix": {"model": "gpt-5-mini", "prompt_tokens": 100, "completion_tokens": 10},
    "a prefix of its own": {"acme.llm.model": "gpt-5-mini", "acme.llm.usage.inputTokens": 100, "acme.llm.usage.outputTokens": 10},
    "tokens first": {"llm.model": "gpt-5-mini", "llm.tokens.prompt": 100, "llm.tokens.completion": 10},
    "Vercel's without an operation": {"ai.model.id": "gpt-5-mini", "ai.usage.promptTokens": 100, "ai.usage.completionTokens": 10},
    "Braintrust": {
        "braintrust.span_attributes": '{"type":"llm"}',
        "braintrust.metadata": '{"provider":"openai","model":"gpt-5-mini"}',
        "braintrust.metrics": '{"prompt_tokens":100,"completion_tokens":10,"tokens":110}',
    },
}  # fmt: skip


def answers(folder: Path, spans: list[Span], sql: str) -> list[tuple[object, ...]]:
    with closing(Store(folder)) as store:
        send(store, [spans])
        follow(store)
        with store.read() as cursor:
            return list(cursor.execute(sql).fetchall())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_call_is_known_by_its_model_and_tokens(tmp_path: Path, family: str) -> None:
    span = Span(1, 1, attributes=tuple(FAMILIES[family].items()), scope="com.acme.assistant")
    found = answers(
        tmp_path, [span], "select request_model, prompt_tokens, output_tokens, cost_pico from calls"
    )
    assert found == [("gpt-5-mini", 100, 10, 100 * 250_000 + 10 * 2_000_000)]


def test_the_model_that_answered_is_enough(tmp_path: Path) -> None:
    said: dict[str, Value] = {"gen_ai.response.model": "gpt-5-mini"}
    span = Span(1, 1, attributes=tuple((said | USED).items()), scope="acme")
    assert answers(tmp_path, [span], "select response_model, prompt_tokens from calls") == [
        ("gpt-5-mini", 100)
    ]


@pytest.mark.parametrize(
    "cached",
    [
        "gen_ai.usage.cached_tokens", "gen_ai.usage.cachedInputTokens", "gen_ai.usage.input_cached_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens", "gen_ai.usage.details.cached_tokens",
    ],
)  # fmt: skip
def test_providers_names_of_details_are_read_below_usage(tmp_path: Path, cached: str) -> None:
    thought = "gen_ai.usage.completion_tokens_details.reasoning_tokens"
    span = Span(
        1, 1, attributes=tuple((NAMED | USED | {cached: 40, thought: 4}).items()), scope="acme"
    )
    found = answers(tmp_path, [span], "select cache_read_tokens, reasoning_tokens from calls")
    assert found == [(40, 4)]


@pytest.mark.parametrize(("model", "read"), [("claude-sonnet-4-5", 0), ("gpt-5-mini", None)])
def test_a_cached_count_that_strands_leaves_out(
    tmp_path: Path, model: str, read: int | None
) -> None:
    """Its older releases never tell of OpenAI's."""
    said = USED | {"gen_ai.operation.name": "chat", "gen_ai.request.model": model}
    span = Span(1, 1, attributes=tuple(said.items()), scope="strands.telemetry.tracer")
    assert answers(tmp_path, [span], "select cache_read_tokens from calls") == [(read,)]


@pytest.mark.parametrize(
    "said",
    [
        {"haystack.tool.error": True},
        {"tool.status": "error"},
        {"gen_ai.tool.call.result": '{"isError": true, "content": []}'},
    ],
)
def test_a_tool_that_failed_says_so_beside_its_status(
    tmp_path: Path, said: dict[str, Value]
) -> None:
    tool: dict[str, Value] = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "lookup"}
    spans = [
        Span(1, 1, attributes=tuple((tool | said).items())),
        Span(2, 1, attributes=tuple(tool.items())),
    ]
    found = answers(tmp_path, spans, "select is_error from tool_calls order by trace_id")
    assert found == [(True,), (False,)]


def test_what_sums_its_calls_is_none_of_them(tmp_path: Path) -> None:
    total = NAMED | {"gen_ai.usage.input_tokens": 200, "gen_ai.usage.output_tokens": 20}
    call = tuple((NAMED | USED).items())
    spans = [
        Span(1, 1, attributes=tuple(total.items()), scope="acme"),
        Span(1, 2, 1, 10, 400, call, "acme"),
        Span(1, 3, 1, 500, 900, call, "acme"),
    ]
    billed = "select count(*), sum(prompt_tokens)::integer from calls where is_billed"
    assert answers(tmp_path, spans, billed) == [(2, 200)]


def test_spring_ai_tells_of_a_loop(tmp_path: Path) -> None:
    """As its documentation says: operation `framework` for all but the model's calls."""
    own: dict[str, Value] = {"gen_ai.operation.name": "framework", "gen_ai.system": "spring_ai"}
    asked = NAMED | USED | {"gen_ai.operation.name": "chat", "gen_ai.system": "openai"}
    client = own | {"spring.ai.kind": "chat_client", "spring.ai.chat.client.conversation.id": "c-1"}
    tool = own | {"spring.ai.kind": "tool_call", "spring.ai.tool.definition.name": "weather",
                  "spring.ai.tool.call.arguments": "{}"}  # fmt: skip
    called = asked | {"gen_ai.response.finish_reasons": '["TOOL_CALLS"]'}
    answered = asked | {"gen_ai.response.finish_reasons": '["STOP"]'}
    spans = [
        Span(1, 1, 0, 0, 1000, tuple(client.items()), "org.springframework.boot"),
        Span(1, 2, 1, 10, 300, tuple(called.items()), "org.springframework.boot"),
        Span(1, 3, 1, 310, 400, tuple(tool.items()), "org.springframework.boot"),
        Span(1, 4, 1, 410, 900, tuple(answered.items()), "org.springframework.boot"),
    ]
    told = (
        "select model_calls, loop_length, tool_calls, termination_reason, session_id from requests"
    )
    assert answers(tmp_path, spans, told) == [(2, 2, 1, "completed", "c-1")]


def test_thoughts_that_only_the_total_has_are_output(tmp_path: Path) -> None:
    said: dict[str, Value] = {
        "gen_ai.operation.name": "generate_content", "gen_ai.provider.name": "gcp.gen_ai",
        "gen_ai.request.model": "gemini-2.5-flash", "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 60, "gen_ai.usage.total_tokens": 1100,
    }  # fmt: skip
    scope = "opentelemetry.instrumentation.google_generativeai"
    found = answers(
        tmp_path, [Span(1, 1, attributes=tuple(said.items()), scope=scope)],
        "select output_tokens, reasoning_tokens from calls",
    )  # fmt: skip
    assert found == [(100, 40)]


@pytest.mark.parametrize(("stated", "kept"), [("resp_68a1", None), ("sess-1", "sess-1")])
def test_the_id_of_an_answer_is_no_session(tmp_path: Path, stated: str, kept: str | None) -> None:
    said = NAMED | USED | {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": stated}
    span = Span(1, 1, attributes=tuple(said.items()), scope="acme")
    assert answers(tmp_path, [span], "select session_id from requests") == [(kept,)]


def test_litellm_inside_a_span_of_the_application(tmp_path: Path) -> None:
    """It writes its last call onto the span that is open; each call has a span with the provider's answer."""
    said = NAMED | USED | {"gen_ai.operation.name": "chat", "litellm.call_id": "c-1"}
    usage = "{'prompt_tokens': 100, 'completion_tokens': 10, 'total_tokens': 110}"
    raw: dict[str, Value] = {"llm.openai.model": "gpt-5-mini", "llm.openai.usage": usage}
    spans = [
        Span(1, 1, 0, 0, 1000, tuple(said.items()), "app"),
        Span(1, 2, 1, 10, 400, tuple(raw.items()), "litellm", name="raw_gen_ai_request"),
        Span(1, 3, 1, 500, 900, tuple(raw.items()), "litellm", name="raw_gen_ai_request"),
    ]
    billed = "select count(*), sum(prompt_tokens)::integer from calls where is_billed"
    assert answers(tmp_path, spans, billed) == [(2, 200)]
