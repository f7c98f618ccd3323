"""Anthropic's models at Bedrock and Vertex, by the SDK's own clients: the cloud's prices, in the guard and in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.instrumentation.models import ASK
from tests.telemetry import follow, receive, rows

import taximeter
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter_collector.store.store import Store

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
           "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn",
           "stop_sequence": None, "usage": {"input_tokens": 100, "output_tokens": 10}}  # fmt: skip
DIRECT_PICO = 100 * 2_000_000 + 10 * 10_000_000
REGIONAL_PICO = DIRECT_PICO * 11 // 10
"""An endpoint in a region costs a tenth more."""


def wire(asked: list[str]) -> httpx2.MockTransport:
    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.path)
        return httpx2.Response(200, json=MESSAGE)

    return httpx2.MockTransport(answer)


def bedrock(asked: list[str], **settings: Any) -> Any:
    http = httpx2.Client(transport=wire(asked))
    return anthropic.AnthropicBedrock(
        aws_region="us-east-1", api_key="none", http_client=http, **settings
    )


def vertex(asked: list[str], **settings: Any) -> Any:
    http = httpx2.Client(transport=wire(asked))
    return anthropic.AnthropicVertex(
        region="us-east5", project_id="p", access_token="none", http_client=http, **settings
    )


CLOUDS = [
    pytest.param(bedrock, "us.anthropic.claude-sonnet-5-5-v1:0", "aws", id="bedrock"),
    pytest.param(vertex, "claude-sonnet-5-5@20260901", "google", id="vertex"),
]


@pytest.mark.parametrize("traces", [True, False], ids=["own spans", "spans of ours"])
@pytest.mark.parametrize(("made", "model", "provider"), CLOUDS)
def test_a_call_costs_what_the_cloud_asks(
    spans: SpanList,
    store: Store,
    made: Callable[..., Any],
    model: str,
    provider: str,
    traces: bool,
) -> None:
    asked: list[str] = []
    option = {} if traces else {"open_telemetry": {"traces": False}}
    with taximeter.request(limits=Limits(cost_usd=0.01)) as request:
        made(asked, **option).messages.create(model=model, max_tokens=50, messages=ASK)
    assert len(asked) == 1 and model in asked[0]
    assert (request.model_calls, request.cost_pico) == (1, REGIONAL_PICO)
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)
    assert rows(store, "select provider, cost_pico from calls") == [(provider, REGIONAL_PICO)]


@pytest.mark.parametrize(("made", "model", "provider"), CLOUDS)
def test_a_budget_that_is_too_small_refuses_before_the_call(
    spans: SpanList, made: Callable[..., Any], model: str, provider: str
) -> None:
    asked: list[str] = []
    with (
        pytest.raises(taximeter.CostBudgetReached),
        taximeter.request(limits=Limits(cost_usd=0.0001, overshoot="none")),
    ):
        made(asked).messages.create(model=model, max_tokens=50, messages=ASK)
    assert not asked


def test_an_asynchronous_client_is_measured_too(spans: SpanList) -> None:
    async def ask() -> int:
        http = httpx2.AsyncClient(transport=wire([]))
        client = anthropic.AsyncAnthropicBedrock(
            aws_region="us-east-1", api_key="none", http_client=http
        )
        async with taximeter.request() as request:
            await client.messages.create(
                model="anthropic.claude-sonnet-5-5-v1:0", max_tokens=50, messages=ASK
            )
        return request.cost_pico

    assert asyncio.run(ask()) == REGIONAL_PICO
