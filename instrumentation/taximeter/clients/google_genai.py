"""Google's GenAI SDK (Gemini API and Vertex AI): one span a request, with the provider's usage.

What is wrapped is one request each: automatic function calls and continuations are calls of their own.
"""

from __future__ import annotations

import functools
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib import import_module
from typing import Any, Final

from opentelemetry.trace import SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.clients.broken_streams import account_broken
from taximeter.clients.fields import field
from taximeter.clients.sending import CurrentCall
from taximeter.clients.streams import observed
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms
from taximeter.runs.deadlines import until_deadline
from taximeter.runs.model_calls import (
    account,
    after_model_call,
    before_model_call,
    count_model_call,
)
from taximeter.runs.reservations import Owners
from taximeter.span_attributes import put
from taximeter.spans import start_span

_MARK: Final = "_taximeter_wrapped"
_SHAPE: Final = "gemini"


@guarded(default=None)
def install() -> None:
    """Wrap the SDK if it is there; once."""
    try:
        models: Any = import_module("google.genai.models")
    except ImportError:
        return
    if getattr(models.Models._generate_content, _MARK, False):
        return
    for owner, whole, stream in (
        (models.Models, _whole, _stream),
        (models.AsyncModels, _async_whole, _async_stream),
    ):
        _wrap(owner, "_generate_content", whole, semconv.CHAT)
        _wrap(owner, "_generate_content_stream", stream, semconv.CHAT)
        _wrap(owner, "embed_content", whole, semconv.EMBEDDINGS)


def _wrap(owner: Any, name: str, around: Callable[..., Any], operation: str) -> None:
    inner = getattr(owner, name)
    wrapped = functools.wraps(inner)(around(inner, operation))
    setattr(wrapped, _MARK, True)
    setattr(owner, name, wrapped)


def _whole(call: Callable[..., Any], operation: str) -> Callable[..., Any]:
    def wrapped(self: Any, **kwargs: Any) -> Any:
        ours = _new_call(self, operation, kwargs)
        if ours is None:
            return call(self, **kwargs)
        with ours:
            answer = call(self, **kwargs)
        return ours.take(answer)

    return wrapped


def _async_whole(call: Callable[..., Any], operation: str) -> Callable[..., Any]:
    async def wrapped(self: Any, **kwargs: Any) -> Any:
        ours = _new_call(self, operation, kwargs)
        if ours is None:
            return await call(self, **kwargs)
        with ours:
            answer = await until_deadline(call(self, **kwargs))
        return ours.take(answer)

    return wrapped


def _stream(call: Callable[..., Any], operation: str) -> Callable[..., Any]:
    def wrapped(self: Any, **kwargs: Any) -> Iterator[Any]:
        ours = _new_call(self, operation, kwargs, is_stream=True)
        items = call(self, **kwargs)
        yield from items if ours is None else observed(items, ours)

    return wrapped


def _async_stream(call: Callable[..., Any], operation: str) -> Callable[..., Any]:
    async def wrapped(self: Any, **kwargs: Any) -> AsyncIterator[Any]:
        ours = _new_call(self, operation, kwargs, is_stream=True)
        if ours is None:
            stream: AsyncIterator[Any] = await call(self, **kwargs)
            return stream
        with ours:
            stream = await until_deadline(call(self, **kwargs))
        watched: AsyncIterator[Any] = observed(stream, ours)
        return watched

    return wrapped


@guarded(default=None)
def _new_call(
    models: Any, operation: str, kwargs: dict[str, Any], *, is_stream: bool = False
) -> _Call | None:
    """Return the call that starts; None while the shim is off, or where a fault of ours keeps it out."""
    return _Call(models, operation, kwargs, is_stream=is_stream) if lifecycle.is_active() else None


class _Call(CurrentCall):
    """One request and its span; sees the whole answer, or each chunk of a stream."""

    def __init__(
        self, models: Any, operation: str, kwargs: dict[str, Any], *, is_stream: bool = False
    ) -> None:
        super().__init__()
        self._is_stream, self._started = is_stream, time.perf_counter()
        self._model = str(kwargs.get("model")).rsplit("/", 1)[-1]
        self._provider, self._server = _provider_of(models)
        bounds = _limits_of(kwargs.get("config"))
        is_decision = operation == semconv.CHAT
        body = {
            **kwargs,
            "max_output_tokens": bounds.get(semconv.REQUEST_MAX_TOKENS),
            "n": bounds.get(semconv.REQUEST_CHOICES),
        }
        terms = Terms(self._provider, self._model, server_address=self._server)
        self._owners = Owners.current(before_model_call(body, terms, is_decision=is_decision))
        self._usage: Any = None
        self._answer_model: str | None = None
        self._reasons: list[str] = []
        self._told: dict[str, Any] = {}  # what the answer says of itself, for the span's end
        self._pieces = 0
        self.span = start_span(
            f"{operation} {self._model}",
            {
                semconv.OPERATION: operation,
                semconv.PROVIDER: self._provider,
                semconv.REQUEST_MODEL: self._model,
                **({semconv.SERVER_ADDRESS: self._server} if self._server else {}),
                **({semconv.REQUEST_STREAM: True} if is_stream else {}),
                **bounds,
            },
            kind=SpanKind.CLIENT,
        )
        count_model_call(self.span, is_decision=is_decision)

    def take(self, answer: Any) -> Any:
        """Record a whole answer, and return it."""
        self.item(answer)
        self.end(None)
        return answer

    def item(self, answer: Any) -> bool:
        """See a whole answer or a chunk."""
        self._see(answer)
        return True

    @guarded(default=None)
    def _see(self, answer: Any) -> None:
        if self._is_stream and self._started:
            waited, self._started = time.perf_counter() - self._started, 0.0
            self._told[semconv.TIME_TO_FIRST_CHUNK] = waited
        self._usage = getattr(answer, "usage_metadata", None) or self._usage
        if isinstance(model := getattr(answer, "model_version", None), str):
            self._answer_model = self._told[semconv.RESPONSE_MODEL] = model
        if isinstance(response_id := getattr(answer, "response_id", None), str):
            self._told[semconv.RESPONSE_ID] = response_id
        for candidate in getattr(answer, "candidates", None) or ():
            parts = getattr(getattr(candidate, "content", None), "parts", None) or ()
            self._pieces += any(getattr(part, "text", None) for part in parts)
            if (reason := getattr(candidate, "finish_reason", None)) is not None:
                self._reasons.append(str(getattr(reason, "value", reason)).lower())

    @guarded(default=None)
    def end(self, error: BaseException | None) -> None:
        """End the span with what is known."""
        if self._reasons:
            self._told[semconv.FINISH_REASONS] = tuple(dict.fromkeys(self._reasons))
        put(self.span, self._told)
        is_broken = self._is_stream and (self._usage is None or not self._reasons)
        if is_broken or self._usage is not None:
            tell = partial(account_broken, pieces=self._pieces) if is_broken else account
            model = self._answer_model or self._model
            terms = Terms(self._provider, model, server_address=self._server)
            tell(self.span, self._usage, _SHAPE, terms, self._owners)
        if error is not None:
            if isinstance(status := getattr(error, "code", None), int):
                self.span.set_attribute(semconv.HTTP_STATUS, status)
            self.span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)
            self.span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))
        self.span.end()
        after_model_call(self.span, self._owners, failed=error is not None)


@guarded(default=("gcp.gemini", None))
def _provider_of(models: Any) -> tuple[str, str | None]:
    from urllib.parse import urlsplit

    client = models._api_client
    address = urlsplit(str(client._http_options.base_url)).hostname
    return ("gcp.vertex_ai" if client.vertexai else "gcp.gemini"), address


@guarded(default={})
def _limits_of(config: Any) -> dict[str, int]:
    asked = {
        semconv.REQUEST_MAX_TOKENS: field(config, "max_output_tokens"),
        semconv.REQUEST_CHOICES: field(config, "candidate_count"),
    }
    return {key: value for key, value in asked.items() if isinstance(value, int)}
