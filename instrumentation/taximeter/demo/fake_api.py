"""A fake model API on loopback: Anthropic messages and batches; OpenAI chat, responses, embeddings.

In a test or an agent of one's own:

    with FakeApi() as api:
        client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo")

Alone: `python -m taximeter.demo.fake_api --port 0` prints the two addresses and serves until stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Self

from taximeter.demo import fake_anthropic, fake_openai, wire
from taximeter.demo.answers import Answer, Api, PromptCache, settle_answer
from taximeter.demo.fake_batches import MessageBatches
from taximeter.demo.fake_http import HttpRequest, HttpResponse, start_http_server
from taximeter.demo.ledger import Ledger
from taximeter.demo.replies import (
    FIRST_HEADER,
    REPLY_HEADER,
    STALL,
    TOOK_HEADER,
    Fault,
    Reply,
    reply_from_header,
)

SSE: Final = "text/event-stream"
STALL_S: Final = 900.0
LINGER_S: Final = 1.5
BATCHES: Final = "/v1/messages/batches"


class FakeApi:
    """The fake API on a thread of its own; start it with `with`, or `start()` and `stop()`.

    `pace` scales every duration: 0 answers at once (and says in `x-demo-took-ms` how long a
    real model would have taken), 1 takes as long as a real model.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, pace: float = 0.0) -> None:
        self.host, self.port, self.pace = host, port, pace
        self.ledger = Ledger()
        self._cache = PromptCache()
        self._batches = MessageBatches()
        self._queued: deque[Reply] = deque()
        self._current = Reply()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def anthropic_url(self) -> str:
        """Return the `base_url` for `anthropic.Anthropic`."""
        return f"http://{self.host}:{self.port}"

    @property
    def openai_url(self) -> str:
        """Return the `base_url` for `openai.OpenAI`."""
        return f"http://{self.host}:{self.port}/v1"

    def say(self, *replies: Reply) -> None:
        """Queue the next answers for requests that do not carry a reply themselves.

        A retry gets the reply of its first attempt, so one caller at a time.
        """
        self._queued.extend(replies)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen in a background thread; `port` is the real one afterwards."""
        ready: threading.Event = threading.Event()
        failure: list[OSError] = []

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                asyncio.run(self._serve(ready, failure))

        self._thread = threading.Thread(target=run, name="fake-model-api", daemon=True)
        self._thread.start()
        ready.wait()
        if failure:
            raise failure[0]

    def stop(self) -> None:
        """Stop listening and end the thread."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._cancel_all)
        thread.join(timeout=5)
        self._loop = self._thread = None

    async def listen(self) -> asyncio.Server:
        """Return the server, listening in the running loop (for a process of its own)."""
        server = await start_http_server(self.answer, self.host, self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """Route one request."""
        if request.method == "GET":
            return self._answer_get(request)
        try:
            body = json.loads(request.body or b"{}")
            replies = self._replies(request)
        except ValueError as error:
            return self._error(request, 400, f"The request body is not valid: {error}")
        if not isinstance(body, dict):
            return self._error(request, 400, "The request body must be a JSON object.")
        try:
            return await self._answer_post(request, body, replies)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            return self._error(request, 400, f"The request is not valid: {error!r}")

    async def _answer_post(
        self, request: HttpRequest, body: Mapping[str, Any], replies: Sequence[Reply]
    ) -> HttpResponse:
        if request.path == BATCHES:
            return self._create_batch(body, replies)
        if request.path == "/v1/messages/count_tokens":
            return _json({"input_tokens": self._cache.anthropic_tokens(body).prompt})
        api = wire.APIS.get(request.path)
        if api is None:
            return self._error(request, 404)
        if not isinstance(body.get("model"), str):
            return self._error(request, 400, "model: Field required")
        return await self._answer_call(api, request, body, replies[0])

    async def _answer_call(
        self, api: Api, request: HttpRequest, body: Mapping[str, Any], reply: Reply
    ) -> HttpResponse:
        attempt = _attempt(request)
        if attempt < len(reply.faults):
            return await self._fail(request, reply, attempt)
        answer = settle_answer(api, body, reply, self._cache)
        headers = {
            "request-id" if api == "messages" else "x-request-id": _request_id(),
            TOOK_HEADER: str(round(answer.latency_s * 1000)),
            FIRST_HEADER: str(round(answer.first_token_s * 1000)),
        }
        if body.get("stream") and api != "embeddings":
            return HttpResponse(200, self._stream(api, body, answer), headers, SSE)
        await asyncio.sleep(answer.latency_s * self.pace)
        self.ledger.record(api, answer, is_stream=False)
        return _json(wire.whole(api, body, answer), headers)

    async def _stream(
        self, api: Api, body: Mapping[str, Any], answer: Answer
    ) -> AsyncIterator[bytes]:
        chunks = list(wire.chunks(api, body, answer))
        await asyncio.sleep(answer.first_token_s * self.pace)
        gap = (answer.latency_s - answer.first_token_s) * self.pace / len(chunks)
        for chunk in chunks if gap > 0 else [b"".join(chunks)]:
            yield chunk
            await asyncio.sleep(gap)
        self.ledger.record(api, answer, is_stream=True)

    async def _fail(self, request: HttpRequest, reply: Reply, attempt: int) -> HttpResponse:
        fault = reply.faults[attempt]
        self.ledger.record_failure(fault.status)
        if fault.status == STALL:
            await asyncio.sleep(STALL_S)
        await asyncio.sleep(fault.after_s * self.pace)
        return self._error(request, fault.status or 500, headers=_retry_headers(fault, self.pace))

    def _replies(self, request: HttpRequest) -> Sequence[Reply]:
        """Return the scripted replies; raises ValueError when the header is not one."""
        header = request.headers.get(REPLY_HEADER)
        if header is not None:
            values = json.loads(header)
            if isinstance(values, list):
                return [reply_from_header(json.dumps(value)) for value in values] or [Reply()]
            return [reply_from_header(header)]
        if _attempt(request) == 0:
            self._current = self._queued.popleft() if self._queued else Reply()
        return [self._current]

    def _create_batch(self, body: Mapping[str, Any], replies: Sequence[Reply]) -> HttpResponse:
        results = []
        for index, entry in enumerate(body.get("requests", ())):
            reply = replies[index] if index < len(replies) else Reply()
            reply = replace(reply, tier="batch")
            answer = settle_answer("messages", entry["params"], reply, self._cache)
            self.ledger.record("messages", answer, is_stream=False, is_batch=True)
            result = {"type": "succeeded", "message": fake_anthropic.message(answer)}
            results.append({"custom_id": entry["custom_id"], "result": result})
        batch_id = self._batches.create(results)
        return _json(self._batches.describe(batch_id, self.anthropic_url) or {})

    def _answer_get(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/demo/ledger":
            return _json(self.ledger.as_json())
        if request.path == "/healthz":
            return _json({"status": "ok"})
        if request.path.startswith(f"{BATCHES}/"):
            batch_id, _, rest = request.path.removeprefix(f"{BATCHES}/").partition("/")
            lines = self._batches.result_lines(batch_id) if rest == "results" else None
            if lines is not None:
                return HttpResponse(200, lines, {}, "application/x-jsonl")
            described = self._batches.describe(batch_id, self.anthropic_url)
            if described is not None and not rest:
                return _json(described)
        return self._error(request, 404)

    def _error(
        self,
        request: HttpRequest,
        status: int,
        message: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        request_id = _request_id()
        if request.path.startswith("/v1/messages"):
            body = fake_anthropic.error_body(status, request_id, message)
            sent = {"request-id": request_id, **(headers or {})}
        else:
            body = fake_openai.error_body(status, message)
            sent = {"x-request-id": request_id, **(headers or {})}
        return HttpResponse(status, json.dumps(body).encode(), sent)

    async def _serve(self, ready: threading.Event, failure: list[OSError]) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            server = await self.listen()
        except OSError as error:
            failure.append(error)
            return
        finally:
            ready.set()
        async with server:
            await server.serve_forever()

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self._loop):
            task.cancel()


def _json(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> HttpResponse:
    return HttpResponse(200, json.dumps(body, separators=(",", ":")).encode(), headers or {})


def _retry_headers(fault: Fault, pace: float) -> dict[str, str]:
    headers = {TOOK_HEADER: str(round(fault.after_s * 1000))}
    if fault.retry_after_s:
        headers["retry-after-ms"] = str(max(1, round(fault.retry_after_s * 1000 * pace)))
        headers["retry-after"] = str(max(1, round(fault.retry_after_s)))
    return headers


def _attempt(request: HttpRequest) -> int:
    count = request.headers.get("x-stainless-retry-count", "")
    return int(count) if count.isdecimal() else 0


def _request_id() -> str:
    return f"req_{token_hex(12)}"


async def serve_until_stopped(
    api: FakeApi,
    ready: Callable[[], None],
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> None:
    """Serve in this thread until a signal comes; call `ready` when the port is known."""
    stopped = asyncio.Event()
    for number in signals:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = await api.listen()
    ready()
    await stopped.wait()
    # Agents in the middle of a call may be told to stop at the same moment: let them go first.
    await asyncio.sleep(LINGER_S * min(1.0, api.pace))
    server.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the fake API until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m taximeter.demo.fake_api",
        description="A fake model API on loopback, for agents that should cost nothing.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port (the default)")
    parser.add_argument("--pace", type=float, default=0.0, help="1 takes as long as a real model")
    options = parser.parse_args(arguments)
    api = FakeApi(port=options.port, pace=options.pace)
    try:
        asyncio.run(serve_until_stopped(api, lambda: _announce(api)))
    except OSError as error:
        print(
            f"The fake API can't listen on port {options.port}: {error.strerror}. "
            "Choose another with --port, or 0 for a free one.",
            file=sys.stderr,
        )
        return 2
    return 0


def _announce(api: FakeApi) -> None:
    print(
        f"fake model API ready: anthropic {api.anthropic_url} openai {api.openai_url}", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
