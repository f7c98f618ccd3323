"""Streams cut on the wire: real SDKs, a socket that closes mid-answer, and the bounds in `calls`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import anthropic
import openai
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.telemetry import follow, receive

import taximeter
from taximeter.runs.limits import CostBudgetReached, TokenBudgetReached
from taximeter.testing import SpanList
from taximeter_collector.store.store import Store

CLAUDE, GPT = "claude-sonnet-5-5", "gpt-5.4"
ASK: Any = [{"role": "user", "content": "tell me a long story"}]
PROMPT = {"input_tokens": 1_000, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
PROMPT_PICO, OUTPUT_PICO = 1_000 * 2_000_000, 10_000_000
"""Claude Sonnet 5.5: $2 and $10 a million."""
GPT_PROMPT_PICO, GPT_OUTPUT_PICO = 1_000 * 2_500_000, 15_000_000


def claude_events(pieces: int) -> list[str]:
    message: dict[str, Any] = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE,
               "content": [], "stop_reason": None, "stop_sequence": None,
               "usage": PROMPT | {"output_tokens": 1}}  # fmt: skip
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *({"type": "content_block_delta", "index": 0,
           "delta": {"type": "text_delta", "text": "once "}} for _ in range(pieces)),
    ]  # fmt: skip
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def gpt_chunks(pieces: int, usage: dict[str, Any] | None = None) -> list[str]:
    """The role, then pieces; some servers count the usage so far in every chunk."""
    deltas = [{"role": "assistant", "content": ""}, *[{"content": "once "}] * pieces]
    chunks = [
        {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": GPT,
         "choices": [{"index": 0, "delta": delta, "finish_reason": None}], "usage": usage}
        for delta in deltas
    ]  # fmt: skip
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]


def gpt_response_events(pieces: int) -> list[str]:
    response: dict[str, Any] = {"id": "resp_1", "object": "response", "created_at": 1, "model": GPT,
                "status": "in_progress", "output": [], "usage": None, "parallel_tool_calls": True,
                "tool_choice": "auto", "tools": []}  # fmt: skip
    events: list[dict[str, Any]] = [
        {"type": "response.created", "sequence_number": 0, "response": response},
        *({"type": "response.output_text.delta", "sequence_number": n, "item_id": "m", "logprobs": [],
           "output_index": 0, "content_index": 0, "delta": "once "} for n in range(pieces)),
    ]  # fmt: skip
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


@contextmanager
def cutting(events: Sequence[str], missing: int = 1_000) -> Iterator[str]:
    """A model API that promises more than it sends: the socket closes in mid-body."""

    class Cut(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            sent = "".join(events).encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(sent) + missing))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Cut)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def cut() -> Iterator[None]:
    """Pass over the cut, by whatever name the SDK gives it."""
    try:
        yield
    except taximeter.LimitReached:
        raise
    except Exception:  # noqa: BLE001
        return


def read_claude(url: str, **more: Any) -> None:
    client = anthropic.Anthropic(base_url=url, api_key="demo", max_retries=0)
    with cut():
        for _ in client.messages.create(
            model=CLAUDE, max_tokens=50, messages=ASK, stream=True, **more
        ):
            pass


def read_claude_helper(url: str) -> None:
    client = anthropic.Anthropic(base_url=url, api_key="demo", max_retries=0)
    with (
        cut(),
        client.messages.stream(model=CLAUDE, max_tokens=50, messages=ASK) as stream,
    ):
        stream.get_final_message()


def read_gpt(url: str, **more: Any) -> None:
    client = openai.OpenAI(base_url=url, api_key="demo", max_retries=0)
    with cut():
        for _ in client.chat.completions.create(model=GPT, messages=ASK, stream=True, **more):
            pass


def read_gpt_response(url: str) -> None:
    client = openai.OpenAI(base_url=url, api_key="demo", max_retries=0)
    with cut():
        for _ in client.responses.create(model=GPT, input="x", stream=True, max_output_tokens=50):
            pass


def stored_call(spans: SpanList, store: Store) -> dict[str, Any]:
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)
    with store.read() as cursor:
        found = cursor.execute("select * exclude (start_time, end_time) from calls where is_billed")
        names = [column[0] for column in found.description or ()]
        (row,) = found.fetchall()
    return dict(zip(names, row, strict=True))


def bounds(row: dict[str, Any]) -> tuple[int | None, int | None]:
    assert row["cost_pico"] is None, "a guess is no cost"
    assert row["output_tokens"] is None
    assert row["cost_quality"] == "unpriced"
    return row["cost_lower_bound_pico"], row["cost_upper_bound_pico"]


@pytest.mark.parametrize("read", [read_claude, read_claude_helper])
@pytest.mark.parametrize("pieces", [0, 3])
def test_a_cut_message_costs_its_prompt_and_up_to_max_tokens(
    spans: SpanList, store: Store, read: Any, pieces: int
) -> None:
    with cutting(claude_events(pieces)) as url, taximeter.request() as request:
        read(url)
    row = stored_call(spans, store)
    assert row["prompt_tokens"] == 1_000
    assert bounds(row) == (PROMPT_PICO + pieces * OUTPUT_PICO, PROMPT_PICO + 50 * OUTPUT_PICO)
    assert (request.cost_pico, request.unpriced_calls) == (0, 1)


@pytest.mark.parametrize("read", [read_claude, read_claude_helper])
def test_a_stream_cut_before_its_first_event_is_a_call_without_a_price(
    spans: SpanList, store: Store, read: Any
) -> None:
    with cutting([]) as url, taximeter.request() as request:
        read(url)
    assert bounds(stored_call(spans, store)) == (None, None)
    assert (request.cost_pico, request.unpriced_calls) == (0, 1)


def test_a_stream_that_its_helper_can_not_read_costs_what_it_said(
    spans: SpanList, store: Store
) -> None:
    """A tool's arguments are no JSON: the helper gives up, but the provider counted the output."""
    ended: list[dict[str, Any]] = [
        {"type": "content_block_start", "index": 1,
         "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}},
        {"type": "content_block_delta", "index": 1,
         "delta": {"type": "input_json_delta", "partial_json": "{]no json"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"output_tokens": 40}},
        {"type": "message_stop"},
    ]  # fmt: skip
    events = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in ended]
    with cutting(claude_events(3) + events, missing=0) as url, taximeter.request() as request:
        client = anthropic.Anthropic(base_url=url, api_key="demo", max_retries=0)
        with client.messages.stream(model=CLAUDE, max_tokens=50, messages=ASK) as stream:
            with cut():
                for _ in stream:
                    pass
            for _ in stream._raw_stream:  # the rest of what was sent
                pass
    row = stored_call(spans, store)
    assert (row["output_tokens"], row["cost_pico"]) == (40, PROMPT_PICO + 40 * OUTPUT_PICO)
    assert (request.cost_pico, request.unpriced_calls) == (row["cost_pico"], 0)


@pytest.mark.parametrize("read", [read_claude, read_claude_helper])
def test_pieces_beyond_the_limit_are_no_tokens(spans: SpanList, store: Store, read: Any) -> None:
    """A piece is taken for a token or more; the request's limit says better how many it can have been."""
    with cutting(claude_events(60)) as url:
        read(url)
    whole = PROMPT_PICO + 50 * OUTPUT_PICO
    assert bounds(stored_call(spans, store)) == (whole, whole)


def test_a_cut_chat_tells_only_what_came(spans: SpanList, store: Store) -> None:
    with cutting(gpt_chunks(3)) as url, taximeter.request() as request:
        read_gpt(url, max_completion_tokens=50)
    assert bounds(stored_call(spans, store)) == (3 * GPT_OUTPUT_PICO, None)
    assert (request.cost_pico, request.unpriced_calls) == (0, 1)


def test_a_running_count_of_a_cut_chat_is_a_lower_bound(spans: SpanList, store: Store) -> None:
    so_far: dict[str, Any] = {"prompt_tokens": 1_000, "completion_tokens": 7, "total_tokens": 1_007,
              "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}}  # fmt: skip
    with cutting(gpt_chunks(3, so_far)) as url:
        read_gpt(url, max_completion_tokens=50, n=2)
    low, high = GPT_PROMPT_PICO + 7 * GPT_OUTPUT_PICO, GPT_PROMPT_PICO + 100 * GPT_OUTPUT_PICO
    assert bounds(stored_call(spans, store)) == (low, high)


def test_a_cut_response_tells_only_what_came(spans: SpanList, store: Store) -> None:
    with cutting(gpt_response_events(4)) as url:
        read_gpt_response(url)
    assert bounds(stored_call(spans, store)) == (4 * GPT_OUTPUT_PICO, None)


def test_a_cut_stream_uses_up_the_budget_by_what_it_may_have_cost(spans: SpanList) -> None:
    @taximeter.agent("teller", limits=taximeter.Limits(cost_usd=0.0024))
    def tell(url: str) -> None:
        read_claude(url)
        read_claude(url)

    with cutting(claude_events(3)) as url, pytest.raises(CostBudgetReached) as reached:
        tell(url)
    used = reached.value.used
    assert (used.cost_usd, used.unpriced_calls) == (0, 1)
    assert used.unsettled_usd == pytest.approx((PROMPT_PICO + 50 * OUTPUT_PICO) / 1e12)


def test_a_cut_stream_uses_up_the_token_budget(spans: SpanList) -> None:
    @taximeter.agent("teller", limits=taximeter.Limits(tokens=1_050))
    def tell(url: str) -> None:
        read_claude(url)
        read_claude(url)

    with cutting(claude_events(3)) as url, pytest.raises(TokenBudgetReached):
        tell(url)
