"""Anthropic's client in all its ways: what a sampler drops, spans switched off, beta, batches, token counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import Reply, Tokens
from taximeter.testing import SpanList

CLAUDE = "claude-sonnet-5-5"
HELLO: Any = [{"role": "user", "content": "hello"}]
TOKENS = Tokens(uncached_input=100, output=10)
PICO = 100 * 2_000_000 + 10 * 10_000_000


@pytest.fixture
def dropping() -> Iterator[None]:
    """An application whose sampler drops everything."""
    usual = trace.get_tracer_provider()
    taximeter.shutdown()
    setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    taximeter.init(service="tests", span_exporter=SpanList())
    yield
    taximeter.shutdown()
    setattr(trace, "_TRACER_PROVIDER", usual)


def ask(client: anthropic.Anthropic) -> None:
    client.messages.create(model=CLAUDE, max_tokens=50, messages=HELLO)


def ask_beta(client: anthropic.Anthropic) -> None:
    client.beta.messages.create(model=CLAUDE, max_tokens=50, messages=HELLO)


def ask_stream(client: anthropic.Anthropic) -> None:
    for _ in client.messages.create(model=CLAUDE, max_tokens=50, messages=HELLO, stream=True):
        pass


def ask_helper(client: anthropic.Anthropic) -> None:
    with client.messages.stream(model=CLAUDE, max_tokens=50, messages=HELLO) as stream:
        stream.get_final_message()


WAYS = [ask, ask_beta, ask_stream, ask_helper]


@pytest.mark.parametrize("way", WAYS)
def test_a_call_is_counted_once(spans: SpanList, api: FakeApi, way: Any) -> None:
    api.say(Reply(tokens=TOKENS))
    with taximeter.request() as request:
        way(anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo"))
    assert (request.model_calls, request.loop_length, request.cost_pico) == (1, 1, PICO)
    assert request.unpriced_calls == 0


@pytest.mark.parametrize("way", WAYS)
def test_the_budget_knows_what_a_sampler_drops(dropping: None, api: FakeApi, way: Any) -> None:
    api.say(Reply(tokens=TOKENS))
    with taximeter.request() as request:
        way(anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo"))
    assert (request.model_calls, request.loop_length, request.cost_pico) == (1, 1, PICO)
    assert request.unpriced_calls == 0


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "option",
    [{"traces": False}, {"tracer_provider": TracerProvider()}],
    ids=["off", "elsewhere"],
)
def test_a_client_without_spans_that_we_see_gets_ours(
    spans: SpanList, api: FakeApi, way: Any, option: Any
) -> None:
    api.say(Reply(tokens=TOKENS))
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo", open_telemetry=option)
    with taximeter.request() as request:
        way(client)
    (call,) = spans.named(f"chat {CLAUDE}")
    assert (call.attributes or {})["gen_ai.usage.output_tokens"] == 10
    assert (request.model_calls, request.cost_pico) == (1, PICO)


def test_counting_tokens_is_no_call(spans: SpanList, api: FakeApi) -> None:
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")
    with taximeter.request() as request:
        client.messages.count_tokens(model=CLAUDE, messages=HELLO)
    assert (request.model_calls, request.cost_pico) == (0, 0)


@pytest.mark.parametrize("is_beta", [False, True], ids=["stable", "beta"])
def test_a_batch_is_one_span_a_result_however_often_it_is_collected(
    spans: SpanList, api: FakeApi, is_beta: bool
) -> None:
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")
    batches: Any = client.beta.messages.batches if is_beta else client.messages.batches
    asked = [
        {"custom_id": f"n-{n}", "params": {"model": CLAUDE, "max_tokens": 9, "messages": HELLO}}
        for n in range(3)
    ]
    batch = batches.create(requests=asked)
    with taximeter.request() as request:
        for _ in range(2):
            assert len(list(batches.results(batch.id))) == 3
    calls = spans.named(f"chat {CLAUDE}")
    assert [(call.attributes or {})["taximeter.batch"] for call in calls] == [True] * 3
    assert request.model_calls == 3
