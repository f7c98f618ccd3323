"""A file of an OpenAI batch's results is fetched: one call a result, at batch prices, each once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import openai
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.telemetry import follow, receive, rows

import taximeter
from taximeter.testing import SpanList
from taximeter_collector.store.store import Store

CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-5.4",
        "choices": [{"index": 0, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050}}  # fmt: skip
RESPONSE = {"id": "resp_1", "object": "response", "model": "gpt-5.4", "status": "completed",
            "usage": {"input_tokens": 1_000, "output_tokens": 50, "total_tokens": 1_050}}  # fmt: skip
EMBEDDING = {"object": "list", "model": "text-embedding-3-small", "data": [],
             "usage": {"prompt_tokens": 8, "total_tokens": 8}}  # fmt: skip
CALL_PICO = (1_000 * 2_500_000 + 50 * 15_000_000) // 2
"""Half of what the same call costs at once."""


def results(start: str, *bodies: Any) -> str:
    lines = [
        {"id": f"batch_req_{start}{number}", "custom_id": f"c-{number}", "error": None,
         "response": {"status_code": 200 if body else 500, "request_id": "r", "body": body}}
        for number, body in enumerate(bodies)
    ]  # fmt: skip
    return "\n".join(map(json.dumps, lines)) + "\n"


def transport(text: str) -> httpx2.MockTransport:
    return httpx2.MockTransport(lambda request: httpx2.Response(200, text=text))


def client(text: str) -> openai.OpenAI:
    return openai.OpenAI(api_key="none", http_client=httpx2.Client(transport=transport(text)))


def test_each_result_is_a_call_at_batch_prices_and_counts_once(
    spans: SpanList, store: Store
) -> None:
    fetch = client(results("a", CHAT, RESPONSE, None, EMBEDDING)).files
    with taximeter.request() as request:
        for _ in range(2):
            assert fetch.content("file-1").text.count("custom_id") == 4
    assert (request.model_calls, request.loop_length) == (3, 2)
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)
    found = rows(store, "select model, is_batch, cost_pico from calls order by start_time")
    assert [row[:2] for row in found] == [("gpt-5.4", True)] * 2 + [
        ("text-embedding-3-small", True)
    ]
    assert [row[2] for row in found[:2]] == [CALL_PICO] * 2
    assert sum(row[2] or 0 for row in found) == request.cost_pico


def test_a_broken_line_hides_no_result(spans: SpanList) -> None:
    text = results("e", CHAT) + "{broken\n[1]\n\n" + results("f", CHAT)
    client(text).files.content("file-1")
    assert len(spans.spans) == 2


def test_an_asynchronous_client_is_measured_too(spans: SpanList) -> None:
    async def fetch() -> None:
        wire = httpx2.AsyncClient(transport=transport(results("b", CHAT)))
        await openai.AsyncOpenAI(api_key="none", http_client=wire).files.content("file-1")

    asyncio.run(fetch())
    (span,) = spans.spans
    assert (span.attributes or {})["taximeter.batch"] is True


@pytest.mark.parametrize(
    "text",
    ["", "a,b\n1,2\n", '{"id": 1}\n', '{"custom_id": "c-1", "method": "POST", "body": {}}\n',
     results("c", None), '{"id": "x", "custom_id": "y", "response": nothing'],
    ids=["empty", "table", "other lines", "a batch's input", "only failures", "cut"],
)  # fmt: skip
def test_other_files_are_left_alone(
    spans: SpanList, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr("taximeter.guard.faults.reraise", False)
    assert client(text).files.content("file-1").text == text
    assert not spans.spans


def test_a_file_that_is_streamed_to_disk_is_not_read(spans: SpanList) -> None:
    text = results("d", CHAT)
    with client(text).files.with_streaming_response.content("file-1") as streamed:
        assert b"".join(streamed.iter_bytes()).decode() == text
    assert not spans.spans
