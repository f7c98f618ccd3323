"""A model without a network: the real SDKs' clients, answered in the process by a script."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, Any

from taximeter.demo import fake_anthropic, fake_openai, wire
from taximeter.demo.answers import PromptCache, settle_answer
from taximeter.demo.replies import Reply, Tokens, ToolCall

if TYPE_CHECKING:
    from anthropic import Anthropic, AsyncAnthropic
    from openai import AsyncOpenAI, OpenAI


@dataclass(frozen=True, slots=True)
class Answer:
    """What the fake model says to one call: the same for whole answers and streams."""

    text: str | None = None
    """By default ``go on``, and nothing beside tool calls."""
    tool_calls: Sequence[ToolCall] = ()
    """Tools that the model asks for."""
    input_tokens: int = 100
    """Of the prompt, cached tokens left out."""
    output_tokens: int = 10
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    stop: str | None = None
    """A stop reason in Anthropic's words; by default ``tool_use`` or ``end_turn``."""
    status: int = 200
    """400 and more: the call fails with this HTTP status, as the SDK raises it."""
    retry_after_s: float | None = None
    """What a failure asks the caller to wait."""
    says_usage: bool = True
    """False: the server tells no usage, as some that speak OpenAI's API do."""
    breaks_off: bool = False
    """True: a stream's connection breaks half-way."""


Script = Answer | Sequence[Answer] | Callable[[dict[str, Any]], Answer]


@dataclass(slots=True)
class FakeModel:
    """Answers every call of its clients, and keeps what it was asked.

    ``answers`` come in turn and the last for ever, or are what a function of the request's body
    returns. Anthropic's messages; OpenAI's chat completions, responses and embeddings.
    """

    answers: Script = Answer()
    delay_s: float = 0.0
    """How long each answer takes, in real seconds."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """The requests so far."""
    timeouts: list[dict[str, float]] = field(default_factory=list)
    """The time-outs they had, by phase (``read``, ``connect`` …), in seconds."""
    most_in_flight: int = 0
    """The most requests that were under way at a time."""
    _in_flight: int = 0
    _answered: int = 0
    _lock: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        """Raise ValueError where there is nothing to answer."""
        if isinstance(self.answers, Sequence) and not self.answers:
            raise ValueError("FakeModel([]) has no answer: give it one, or leave them out")

    def anthropic(self, **settings: Any) -> Anthropic:
        """Return an `anthropic.Anthropic` that asks this model; without retries unless told."""
        return self._client("anthropic", "Anthropic", settings)  # type: ignore[no-any-return]

    def async_anthropic(self, **settings: Any) -> AsyncAnthropic:
        """Return an `anthropic.AsyncAnthropic` that asks this model."""
        return self._client("anthropic", "AsyncAnthropic", settings)  # type: ignore[no-any-return]

    def openai(self, **settings: Any) -> OpenAI:
        """Return an `openai.OpenAI` that asks this model; without retries unless told."""
        return self._client("openai", "OpenAI", settings)  # type: ignore[no-any-return]

    def async_openai(self, **settings: Any) -> AsyncOpenAI:
        """Return an `openai.AsyncOpenAI` that asks this model."""
        return self._client("openai", "AsyncOpenAI", settings)  # type: ignore[no-any-return]

    def _client(self, sdk_name: str, client_name: str, settings: Mapping[str, Any]) -> Any:
        try:
            sdk = import_module(sdk_name)
        except ImportError:
            raise ImportError(
                f"FakeModel answers the real SDK: pip install {sdk_name}", name=sdk_name
            ) from None
        http = _http_of(sdk)
        if client_name.startswith("Async"):
            transport = http.MockTransport(self._answer_async(http))
            client = http.AsyncClient(transport=transport)
        else:
            client = http.Client(transport=http.MockTransport(self._answer(http)))
        usual = {"api_key": "fake", "max_retries": 0, "http_client": client}
        return getattr(sdk, client_name)(**{**usual, **settings})

    def _answer(self, http: Any) -> Callable[[Any], Any]:
        def answer(request: Any) -> Any:
            self._begin(request)
            try:
                if self.delay_s:
                    time.sleep(self.delay_s)
            finally:
                response = self._end(http, request)
            return response

        return answer

    def _answer_async(self, http: Any) -> Callable[[Any], Any]:
        async def answer(request: Any) -> Any:
            self._begin(request)
            try:
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
            finally:
                response = self._end(http, request)
            return response

        return answer

    def _begin(self, request: Any) -> None:
        with self._lock:
            self.bodies.append(_body_of(request))
            self.timeouts.append(request.extensions["timeout"])
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)

    def _end(self, http: Any, request: Any) -> Any:
        body = _body_of(request)
        with self._lock:
            self._in_flight -= 1
            answer = self._next(body)
            self._answered += 1
        return _response(http, request.url.path, body, answer)

    def _next(self, body: dict[str, Any]) -> Answer:
        if isinstance(self.answers, Answer):
            return self.answers
        if callable(self.answers):
            return self.answers(body)
        return self.answers[min(self._answered, len(self.answers) - 1)]


def _body_of(request: Any) -> dict[str, Any]:
    """Return a request's JSON; nothing of what has none, as a GET or a file that is sent."""
    try:
        return dict(json.loads(request.content))
    except ValueError:
        return {}


def _http_of(sdk: Any) -> Any:
    """Return the HTTP library that this version of the SDK is built on."""
    (base,) = (kind for kind in sdk.DefaultHttpxClient.__mro__ if kind.__name__ == "Client")
    return import_module(base.__module__.partition(".")[0])


def _response(http: Any, path: str, body: dict[str, Any], answer: Answer) -> Any:
    api = wire.api_at(path)
    if api is None:
        said = f"FakeModel answers {', '.join(wire.APIS)}; this was {path}"
        return http.Response(404, json=fake_openai.error_body(404, said))
    if answer.status >= 400:
        return _failure(http, api, answer)
    settled = settle_answer(api, body, _reply(answer), PromptCache())
    if not body.get("stream"):
        whole = dict(wire.whole(api, body, settled))
        if not answer.says_usage:
            whole.pop("usage", None)
        return http.Response(200, json=whole)
    if not answer.says_usage:
        body = {**body, "stream_options": {}}
    chunks = [*wire.chunks(api, body, settled)]
    headers = {"content-type": "text/event-stream"}
    return http.Response(200, headers=headers, stream=_stream(http, chunks, answer.breaks_off))


def _reply(answer: Answer) -> Reply:
    calls = tuple(answer.tool_calls)
    tokens = Tokens(
        uncached_input=answer.input_tokens,
        cache_read=answer.cache_read_tokens,
        cache_write_5m=answer.cache_write_tokens,
        output=answer.output_tokens,
    )
    text = ("" if calls else "go on") if answer.text is None else answer.text
    return Reply(text=text, tool_calls=calls, tokens=tokens, stop=answer.stop)


def _failure(http: Any, api: str, answer: Answer) -> Any:
    is_claude = api == "messages"
    said = (
        fake_anthropic.error_body(answer.status, "req_fake")
        if is_claude
        else fake_openai.error_body(answer.status)
    )
    wait = answer.retry_after_s
    headers = {"retry-after-ms": str(round(wait * 1_000))} if wait is not None else {}
    return http.Response(answer.status, json=said, headers=headers)


def _stream(http: Any, chunks: Sequence[bytes], breaks_off: bool) -> Any:
    """Return the chunks as the HTTP library streams them, to plain and asynchronous clients."""

    class Stream(http.SyncByteStream, http.AsyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            yield from chunks[: len(chunks) // 2] if breaks_off else chunks
            if breaks_off:
                raise http.ReadError("the fake model broke off")

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self:
                yield chunk

    return Stream()
