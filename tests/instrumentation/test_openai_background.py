"""A response made in the background is looked at until it is done: one call, priced once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.telemetry import follow, receive

import taximeter
from taximeter.testing import SpanList
from taximeter_collector.store.store import Store

USAGE = {"input_tokens": 1_000, "input_tokens_details": {"cached_tokens": 0},
         "output_tokens": 50, "output_tokens_details": {"reasoning_tokens": 0},
         "total_tokens": 1_050}  # fmt: skip
PICO = 1_000 * 2_500_000 + 50 * 15_000_000


def response(status: str, usage: Any = None) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "created_at": 1, "model": "gpt-5.4",
            "status": status, "background": True, "output": [], "usage": usage,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    looks = iter([response("queued"), response("in_progress"), *[response("completed", USAGE)] * 3])

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=json.dumps(next(looks)))

    transport = httpx2.Client(transport=httpx2.MockTransport(answer))
    yield openai.OpenAI(api_key="none", http_client=transport)


def test_its_budget_holds_the_most_until_its_use_is_known(
    spans: SpanList, client: openai.OpenAI
) -> None:
    with taximeter.request(limits=taximeter.Limits(cost_usd=1.0)) as request:
        client.responses.create(
            model="gpt-5.4", input="x", background=True, max_output_tokens=1_000
        )
        started = request.used()
        for _ in range(2):
            client.responses.retrieve("resp_1")
    done = request.used()
    assert (started.cost_usd, started.unpriced_calls) == (0, 1)
    assert started.unsettled_usd > PICO / 1e12
    assert (done.cost_usd, done.unsettled_usd, done.unpriced_calls) == (PICO / 1e12, 0, 0)


def test_it_is_counted_when_it_is_done_and_once(
    spans: SpanList, store: Store, client: openai.OpenAI
) -> None:
    with taximeter.request() as request:
        client.responses.create(model="gpt-5.4", input="x", background=True)
        for _ in range(3):
            client.responses.retrieve("resp_1")
    assert (request.model_calls, request.loop_length, request.cost_pico) == (1, 1, PICO)
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)
    with store.read() as cursor:
        found = cursor.execute("select cost_pico from calls where is_billed").fetchall()
    assert found == [(PICO,)]
