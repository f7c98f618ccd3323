"""Google's SDK against a server that answers as Gemini does: every token, once. Skipped where it isn't installed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import taximeter
from taximeter.testing import SpanList

genai = pytest.importorskip("google.genai")
MODEL = "gemini-2.5-flash"
USAGE = {"promptTokenCount": 1_000, "cachedContentTokenCount": 900, "candidatesTokenCount": 40,
         "thoughtsTokenCount": 10, "totalTokenCount": 1_050}  # fmt: skip
PICO = 100 * 300_000 + 900 * 30_000 + 50 * 2_500_000
"""Gemini 2.5 Flash: $0.30 a million, $0.03 from the cache, $2.50 for output."""


def answer(text: str, *, last: bool = True) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}}
    if last:
        candidate["finishReason"] = "STOP"
    return {"candidates": [candidate], "modelVersion": MODEL, "responseId": "r-1"} | (
        {"usageMetadata": USAGE} if last else {}
    )


@pytest.fixture
def client() -> Iterator[Any]:
    class Gemini(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            if "broken" in self.path:
                self.send_response(400)
                self.end_headers()
                return
            if "streamGenerateContent" in self.path:
                chunks = [answer("once ", last=False), answer("upon")]
                body = "".join(f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks)
            elif "countTokens" in self.path:
                body = json.dumps({"totalTokens": 7})
            else:
                body = json.dumps(answer("ok"))
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Gemini)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    options = {"base_url": f"http://127.0.0.1:{server.server_port}"}
    yield genai.Client(api_key="demo", http_options=options)
    server.shutdown()
    thread.join()
    server.server_close()


def ask(client: Any) -> None:
    client.models.generate_content(model=MODEL, contents="hi")


def ask_stream(client: Any) -> None:
    for _ in client.models.generate_content_stream(model=MODEL, contents="hi"):
        pass


def ask_async(client: Any) -> None:
    asyncio.run(client.aio.models.generate_content(model=MODEL, contents="hi"))


def ask_async_stream(client: Any) -> None:
    async def read() -> None:
        async for _ in await client.aio.models.generate_content_stream(model=MODEL, contents="hi"):
            pass

    asyncio.run(read())


@pytest.mark.parametrize("way", [ask, ask_stream, ask_async, ask_async_stream])
def test_a_request_is_one_span_with_its_cost(spans: SpanList, client: Any, way: Any) -> None:
    with taximeter.request() as request:
        way(client)
    (call,) = spans.named(f"chat {MODEL}")
    said = call.attributes or {}
    assert said["gen_ai.provider.name"] == "gcp.gemini"
    assert said["gen_ai.response.finish_reasons"] == ("stop",)
    assert (said["gen_ai.usage.input_tokens"], said["gen_ai.usage.output_tokens"]) == (1_000, 50)
    assert (request.cost_pico, request.loop_length) == (PICO, 1)


def test_counting_tokens_is_no_call(spans: SpanList, client: Any) -> None:
    with taximeter.request() as request:
        client.models.count_tokens(model=MODEL, contents="hi")
    assert (request.model_calls, [span.name for span in spans.spans]) == (0, ["request"])


def test_a_failure_is_the_applications_and_on_the_span(spans: SpanList, client: Any) -> None:
    with pytest.raises(Exception, match="400"):
        client.models.generate_content(model="broken", contents="hi")
    (call,) = spans.named("chat broken")
    assert (call.attributes or {})["http.response.status_code"] == 400


def test_all_candidates_must_fit_the_budget(spans: SpanList, client: Any) -> None:
    limits = taximeter.Limits(output_tokens=150, overshoot="none")
    with taximeter.request(limits=limits), pytest.raises(taximeter.TokenBudgetReached):
        client.models.generate_content(
            model=MODEL, contents="hi", config={"max_output_tokens": 100, "candidate_count": 2}
        )
    assert not spans.named(f"chat {MODEL}")


def test_a_stream_that_is_left_has_an_unknown_cost(spans: SpanList, client: Any) -> None:
    with taximeter.request() as request:
        stream = client.models.generate_content_stream(model=MODEL, contents="hi")
        next(stream)
        stream.close()
    assert (request.cost_pico, request.unpriced_calls) == (0, 1)
    (call,) = spans.named(f"chat {MODEL}")
    assert (call.attributes or {})["taximeter.output_tokens.lower_bound"] == 1
