"""Real SDKs against a local API: every token, once, however the call is made."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan

import taximeter
from taximeter import semconv
from taximeter.demo.fake_api import FakeApi
from taximeter.testing import SpanList

CLAUDE, GPT = "claude-sonnet-5-5", "gpt-5.4"
ASK: Any = [{"role": "user", "content": "Where is order 4711?"}]


def usage_of(span: ReadableSpan) -> dict[str, Any]:
    attributes = span.attributes or {}
    loaded: dict[str, Any] = json.loads(str(attributes[semconv.USAGE]))
    return loaded


def claude(api: FakeApi) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")


def gpt(api: FakeApi) -> openai.OpenAI:
    return openai.OpenAI(base_url=api.openai_url, api_key="demo")


def claude_create(api: FakeApi) -> Any:
    return claude(api).messages.create(model=CLAUDE, max_tokens=50, messages=ASK).usage


def claude_raw_stream(api: FakeApi) -> Any:
    events = claude(api).messages.create(model=CLAUDE, max_tokens=50, messages=ASK, stream=True)
    for _ in events:
        pass
    return None


def claude_stream(api: FakeApi) -> Any:
    with claude(api).messages.stream(model=CLAUDE, max_tokens=50, messages=ASK) as stream:
        return stream.get_final_message().usage


def claude_async(api: FakeApi) -> Any:
    async def call() -> Any:
        client = anthropic.AsyncAnthropic(base_url=api.anthropic_url, api_key="demo")
        return (await client.messages.create(model=CLAUDE, max_tokens=50, messages=ASK)).usage

    return asyncio.run(call())


def gpt_create(api: FakeApi) -> Any:
    return gpt(api).chat.completions.create(model=GPT, messages=ASK).usage


def gpt_stream_without_asking_for_usage(api: FakeApi) -> Any:
    chunks = list(gpt(api).chat.completions.create(model=GPT, messages=ASK, stream=True))
    assert all(chunk.choices for chunk in chunks), "the extra usage chunk is ours alone"
    return None


def gpt_stream_with_usage(api: FakeApi) -> Any:
    options: Any = {"include_usage": True}
    chunks = list(
        gpt(api).chat.completions.create(
            model=GPT, messages=ASK, stream=True, stream_options=options
        )
    )
    return chunks[-1].usage


def gpt_raw(api: FakeApi) -> Any:
    raw = gpt(api).chat.completions.with_raw_response.create(model=GPT, messages=ASK)
    return raw.parse().usage


def gpt_async_stream(api: FakeApi) -> Any:
    async def call() -> None:
        client = openai.AsyncOpenAI(base_url=api.openai_url, api_key="demo")
        stream = await client.chat.completions.create(model=GPT, messages=ASK, stream=True)
        async for _ in stream:
            pass

    return asyncio.run(call())


def gpt_responses(api: FakeApi) -> Any:
    return gpt(api).responses.create(model=GPT, input="x").usage


def gpt_responses_stream(api: FakeApi) -> Any:
    for _ in gpt(api).responses.create(model=GPT, input="x", stream=True):
        pass
    return None


def gpt_embeddings(api: FakeApi) -> Any:
    return gpt(api).embeddings.create(model="text-embedding-3-small", input="x").usage


WAYS = [claude_create, claude_raw_stream, claude_stream, claude_async, gpt_create,
        gpt_stream_without_asking_for_usage, gpt_stream_with_usage, gpt_raw, gpt_async_stream,
        gpt_responses, gpt_responses_stream, gpt_embeddings]  # fmt: skip


@pytest.mark.parametrize("call", WAYS, ids=lambda way: way.__name__)
def test_a_call_is_one_span_with_the_providers_usage_and_the_cost(
    spans: SpanList, api: FakeApi, call: Callable[[FakeApi], Any]
) -> None:
    with taximeter.request(name="question") as request:
        told = call(api)
    calls = [span for span in spans.spans if semconv.USAGE in (span.attributes or {})]
    assert len(calls) == 1
    attributes = calls[0].attributes or {}
    usage = usage_of(calls[0])
    if told is not None:
        assert usage == told.model_dump(mode="json", exclude_none=True)
    assert request.model_calls == 1
    assert request.cost_usd > 0
    assert request.unpriced_calls == 0
    assert attributes[semconv.COST_SO_FAR] == request.cost_usd
    assert calls[0].context is not None
    roots = spans.named("question")
    assert roots[0].context is not None
    assert calls[0].context.trace_id == roots[0].context.trace_id


def test_a_failed_call_is_an_error_span_without_tokens(spans: SpanList, api: FakeApi) -> None:
    client = openai.OpenAI(base_url=api.openai_url, api_key="demo", max_retries=0)
    with pytest.raises(openai.NotFoundError):
        client.with_options(base_url=f"{api.openai_url}/nowhere").chat.completions.create(
            model=GPT, messages=ASK
        )
    (span,) = spans.spans
    attributes = span.attributes or {}
    assert span.status.status_code.name == "ERROR"
    assert attributes[semconv.ERROR_TYPE] == "NotFoundError"
    assert attributes[semconv.HTTP_STATUS] == 404
    assert semconv.USAGE not in attributes


def test_a_stream_left_early_has_no_usage_instead_of_zero(spans: SpanList, api: FakeApi) -> None:
    stream = gpt(api).chat.completions.create(model=GPT, messages=ASK, stream=True)
    next(iter(stream))
    stream.close()
    (span,) = spans.spans
    assert semconv.USAGE not in (span.attributes or {})
    assert semconv.OUTPUT_TOKENS not in (span.attributes or {})


def test_an_unpriced_model_is_counted_and_not_free(spans: SpanList, api: FakeApi) -> None:
    with taximeter.request() as request:
        gpt(api).chat.completions.create(model="in-house-model-7", messages=ASK)
    assert request.unpriced_calls == 1
    assert request.cost_usd == 0


def test_a_collected_batch_is_one_marked_span_a_result(spans: SpanList, api: FakeApi) -> None:
    client = claude(api)
    entry: Any = {"model": CLAUDE, "max_tokens": 20, "messages": ASK}
    batch = client.messages.batches.create(
        requests=[{"custom_id": f"c{number}", "params": entry} for number in range(2)]
    )
    spans.spans.clear()
    for _ in range(2):  # collected twice, counted once
        list(client.messages.batches.results(batch.id))
    marked = [span for span in spans.spans if (span.attributes or {}).get(semconv.BATCH)]
    assert len(marked) == 2
    assert {usage_of(span)["service_tier"] for span in marked} == {"batch"}
