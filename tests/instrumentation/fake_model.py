"""A model without a network: the real SDKs' HTTP clients are answered in the process."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import anthropic
import httpx2
import openai

CLAUDE, GPT = "claude-sonnet-5-5", "gpt-5.4"
ASK: Any = [{"role": "user", "content": "next?"}]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer's tokens; a status of 400 and more has none."""

    input: int = 100
    output: int = 10
    cached: int = 0
    written: int = 0
    status: int = 200
    says_usage: bool = True


@dataclass(slots=True)
class FakeModel:
    """Answers every call by `answer`; keeps the bodies and the time-outs it was asked with."""

    answer: Callable[[dict[str, Any]], Answer] = lambda body: Answer()
    delay_s: float = 0.0
    bodies: list[dict[str, Any]] = field(default_factory=list)
    timeouts: list[dict[str, float]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    _ids: Any = field(default_factory=lambda: itertools.count(1))
    _lock: Lock = field(default_factory=Lock)

    def claude(self) -> anthropic.Anthropic:
        http = httpx2.Client(transport=httpx2.MockTransport(self._plain))
        return anthropic.Anthropic(api_key="demo", http_client=http, max_retries=0)

    def async_claude(self) -> anthropic.AsyncAnthropic:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._async))
        return anthropic.AsyncAnthropic(api_key="demo", http_client=http, max_retries=0)

    def gpt(self) -> openai.OpenAI:
        http = httpx2.Client(transport=httpx2.MockTransport(self._plain))
        return openai.OpenAI(api_key="demo", http_client=http, max_retries=0)

    def async_gpt(self) -> openai.AsyncOpenAI:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self._async))
        return openai.AsyncOpenAI(api_key="demo", http_client=http, max_retries=0)

    def _plain(self, request: httpx2.Request) -> httpx2.Response:
        self._begin(request)
        if self.delay_s:
            time.sleep(self.delay_s)
        return self._end(request)

    async def _async(self, request: httpx2.Request) -> httpx2.Response:
        self._begin(request)
        try:
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
        finally:
            response = self._end(request)
        return response

    def _begin(self, request: httpx2.Request) -> None:
        with self._lock:
            self.bodies.append(json.loads(request.content))
            self.timeouts.append(request.extensions["timeout"])
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _end(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        with self._lock:
            self.in_flight -= 1
            answer, number = self.answer(body), next(self._ids)
        if answer.status >= 400:
            return httpx2.Response(answer.status, json={"error": {"message": "no"}})
        is_claude = request.url.path == "/v1/messages"
        told = (_claude if is_claude else _gpt)(body["model"], answer, number)
        if not body.get("stream"):
            return httpx2.Response(200, json=told)
        events = (_claude_events if is_claude else _gpt_events)(told)
        return httpx2.Response(
            200, headers={"content-type": "text/event-stream"}, content="".join(events).encode()
        )


def _claude(model: str, answer: Answer, number: int) -> dict[str, Any]:
    usage = {"input_tokens": answer.input, "cache_read_input_tokens": answer.cached,
             "cache_creation_input_tokens": answer.written, "output_tokens": answer.output}  # fmt: skip
    return {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": model,
            "content": [{"type": "text", "text": "go on"}], "stop_reason": "end_turn",
            "stop_sequence": None, "usage": usage}  # fmt: skip


def _gpt(model: str, answer: Answer, number: int) -> dict[str, Any]:
    prompt = answer.input + answer.cached + answer.written
    usage = {"prompt_tokens": prompt, "completion_tokens": answer.output,
             "total_tokens": prompt + answer.output,
             "prompt_tokens_details": {"cached_tokens": answer.cached}}  # fmt: skip
    choice = {"index": 0, "message": {"role": "assistant", "content": "go on"},
              "finish_reason": "stop"}  # fmt: skip
    told = {"id": f"chatcmpl-{number}", "object": "chat.completion", "created": 1, "model": model,
            "choices": [choice]}  # fmt: skip
    return told | ({"usage": usage} if answer.says_usage else {})


def _claude_events(message: dict[str, Any]) -> list[str]:
    usage, text = message["usage"], {"type": "text_delta", "text": "go on"}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": message | {"content": [], "stop_reason": None,
                                                       "usage": usage | {"output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": text},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "usage": {"output_tokens": usage["output_tokens"]},
         "delta": {"stop_reason": "end_turn", "stop_sequence": None}},
        {"type": "message_stop"},
    ]  # fmt: skip
    return [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events]


def _gpt_events(told: dict[str, Any]) -> list[str]:
    head = {
        "id": told["id"],
        "object": "chat.completion.chunk",
        "created": 1,
        "model": told["model"],
    }
    delta = {"index": 0, "delta": {"role": "assistant", "content": "go on"}, "finish_reason": None}
    stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks = [head | {"choices": [delta]}, head | {"choices": [stop]}]
    chunks.append(head | {"choices": [], "usage": told.get("usage")})
    return [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
