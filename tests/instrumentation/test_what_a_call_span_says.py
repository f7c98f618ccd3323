"""Model calls of the real SDKs, streamed, broken off and retried: every token, once."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
from opentelemetry.sdk.trace import ReadableSpan
from tests.instrumentation.models import ASK

import taximeter
from taximeter import lifecycle, semconv
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import Fault, Reply, Tokens
from taximeter.runs.call_cost import Terms
from taximeter.runs.model_calls import account
from taximeter.testing import FakeModel, SpanList

CLAUDE = "claude-sonnet-4-5"
GPT = "gpt-4o"
TOKENS = Tokens(uncached_input=120, cache_read=900, cache_write_5m=300, output=77)
PLAIN = Tokens(uncached_input=120, cache_read=900, output=77)
HELLO: Any = [{"role": "user", "content": "hello"}]


def calls(spans: SpanList) -> list[ReadableSpan]:
    """The model calls, in the order in which they ended."""
    kinds = ("chat", "embeddings")
    return [s for s in spans.spans if attributes(s).get("gen_ai.operation.name") in kinds]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def usage_of(span: ReadableSpan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(attributes(span)["taximeter.usage"])
    return found


def claude(api: FakeApi) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")


def gpt(api: FakeApi) -> openai.OpenAI:
    return openai.OpenAI(base_url=api.openai_url, api_key="demo")


def test_anthropic_stream_broken_off_has_unknown_tokens(spans: SpanList, api: FakeApi) -> None:
    api.say(Reply(text="a long story " * 50, tokens=TOKENS))
    with taximeter.request() as request:
        stream = claude(api).messages.create(
            model=CLAUDE, max_tokens=9, messages=HELLO, stream=True
        )
        next(iter(stream))
        stream.close()
    (call,) = calls(spans)
    assert "output_tokens" not in usage_of(call)
    assert "gen_ai.usage.output_tokens" not in attributes(call)
    assert (request.cost_usd, request.unpriced_calls) == (0, 1)


def test_a_call_says_whose_it_is_before_the_run_is_over(spans: SpanList, api: FakeApi) -> None:
    api.say(Reply(tokens=TOKENS), Reply(tokens=PLAIN))

    @taximeter.agent("researcher", version="7")
    def run() -> list[tuple[str, str]]:
        claude(api).messages.create(model=CLAUDE, max_tokens=9, messages=HELLO)
        gpt(api).chat.completions.create(model=GPT, messages=HELLO)
        found = [attributes(call) for call in calls(spans)]
        return [(one["gen_ai.agent.name"], one["gen_ai.agent.version"]) for one in found]

    assert run() == [("researcher", "7")] * 2


def test_openai_chat_says_tokens_by_the_conventions(spans: SpanList, api: FakeApi) -> None:
    api.say(Reply(tokens=PLAIN))
    with taximeter.request() as request:
        said = gpt(api).chat.completions.create(model=GPT, messages=HELLO)
    (call,) = calls(spans)
    found = attributes(call)
    assert call.name == f"chat {GPT}"
    assert found["gen_ai.provider.name"] == "openai"
    assert found["gen_ai.usage.input_tokens"] == 1020
    assert found["gen_ai.usage.cache_read.input_tokens"] == 900
    assert found["gen_ai.usage.output_tokens"] == 77
    assert found["gen_ai.response.id"] == said.id
    assert found["gen_ai.response.finish_reasons"] == ("stop",)
    assert request.cost_pico == 120 * 2_500_000 + 900 * 1_250_000 + 77 * 10_000_000


def test_a_client_that_is_given_another_address_asks_somebody_else(spans: SpanList) -> None:
    client = FakeModel().openai()
    for address in ("https://api.openai.com/v1", "https://api.deepseek.com/v1"):
        client.base_url = address
        client.chat.completions.create(model="deepseek-v4-flash", messages=ASK)
    said = [dict(span.attributes or {}) for span in spans.spans]
    assert [(a["gen_ai.provider.name"], a["server.address"], a["taximeter.usage_shape"])
            for a in said] == [("openai", "api.openai.com", "openai_chat"),
                               ("deepseek", "api.deepseek.com", "deepseek")]  # fmt: skip


def test_openai_embeddings_are_priced_but_no_iteration(spans: SpanList, api: FakeApi) -> None:
    with taximeter.request() as request:
        gpt(api).embeddings.create(model="text-embedding-3-small", input="hello")
    assert calls(spans)[0].name == "embeddings text-embedding-3-small"
    assert (request.loop_length, request.model_calls) == (0, 1)
    assert request.cost_pico > 0


def test_a_retried_call_is_one_span_that_says_how_often(spans: SpanList, api: FakeApi) -> None:
    api.say(Reply(tokens=PLAIN, faults=(Fault(status=500, retry_after_s=0.01),)))
    gpt(api).chat.completions.create(model=GPT, messages=HELLO)
    (call,) = calls(spans)
    assert attributes(call)["http.request.resend_count"] == 1


def test_content_stays_out_unless_asked_for(spans: SpanList, api: FakeApi) -> None:
    gpt(api).chat.completions.create(
        model=GPT, messages=[{"role": "user", "content": "my secret plan"}]
    )
    claude(api).messages.create(
        model=CLAUDE, max_tokens=9, messages=[{"role": "user", "content": "my secret plan"}]
    )
    assert len(calls(spans)) == 2
    assert "secret plan" not in repr([attributes(span) for span in spans.spans])


def test_starting_again_counts_a_native_call_once(api: FakeApi, spans: SpanList) -> None:
    taximeter.shutdown()
    again = SpanList()
    taximeter.init(service="tests", span_exporter=again)
    with taximeter.request() as request:
        claude(api).messages.create(model=CLAUDE, max_tokens=9, messages=HELLO)
    assert (request.model_calls, len(calls(again)), len(calls(spans))) == (1, 1, 0)


def test_a_call_pinned_to_a_region_says_so_and_costs_its_surcharge(
    spans: SpanList,
) -> None:
    usage = {"input_tokens": 1_000_000, "output_tokens": 0, "service_tier": "standard"}
    costs = []
    for geo in ("global", "us"):
        with taximeter.request() as request:
            span = lifecycle.tracer().start_span("chat")
            terms = Terms("anthropic", "claude-opus-5-5")
            account(span, usage | {"inference_geo": geo}, "anthropic", terms)
            span.end()
        costs.append(request.cost_pico)
    assert costs[1] * 10 == costs[0] * 11
    pinned = spans.named("chat")[1].attributes or {}
    assert pinned[semconv.REGION_CLASS] == "geo:us"
