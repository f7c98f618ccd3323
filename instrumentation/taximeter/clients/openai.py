"""OpenAI's SDK (and what speaks its API through it): one span a call, with the provider's usage.

The client's one way out, `post`, is wrapped by path, so streams, helpers and retries are covered.
"""

from __future__ import annotations

import contextlib
import functools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.trace import SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.clients.broken_streams import account_broken
from taximeter.clients.fields import field, reader
from taximeter.clients.openai_background import note_started
from taximeter.clients.openai_gets import wrap_async_get, wrap_get
from taximeter.clients.sending import CurrentCall, call_under_way
from taximeter.clients.servers import NOBODY, Server, server_of
from taximeter.clients.streamed_choices import StreamedChoices
from taximeter.clients.streams import observe
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms
from taximeter.runs.deadlines import until_deadline, within_deadline
from taximeter.runs.model_calls import (
    account,
    after_model_call,
    before_model_call,
    count_model_call,
    plain,
)
from taximeter.runs.reservations import Owners
from taximeter.span_attributes import put

_MARK: Final = "_taximeter_wrapped"
_MAX_CONTENT: Final = 262_144
_PLAIN: Final = (str, int, float)


@dataclass(frozen=True, slots=True)
class _Api:
    """One path of the API."""

    operation: str
    api_type: str
    shape: str


_APIS: Final = {
    "/chat/completions": _Api(semconv.CHAT, "chat_completions", "openai_chat"),
    "/responses": _Api(semconv.CHAT, "responses", "openai_responses"),
    "/embeddings": _Api(semconv.EMBEDDINGS, "embeddings", "openai_chat"),
}
_TOLD: Final = (
    (semconv.RESPONSE_ID, "id"),
    (semconv.RESPONSE_MODEL, "model"),
    (semconv.OPENAI_RESPONSE_TIER, "service_tier"),
)


@guarded(default=None)
def install() -> None:
    """Wrap the SDK if it is there; once."""
    try:
        from openai import _base_client as sdk
    except ImportError:
        return
    if not getattr(sdk.SyncAPIClient.post, _MARK, False):
        setattr(sdk.SyncAPIClient, "post", wrap_post(sdk.SyncAPIClient.post))
        setattr(sdk.AsyncAPIClient, "post", wrap_async_post(sdk.AsyncAPIClient.post))
        setattr(sdk.SyncAPIClient, "get", wrap_get(sdk.SyncAPIClient.get))
        setattr(sdk.AsyncAPIClient, "get", wrap_async_get(sdk.AsyncAPIClient.get))
        for client in (sdk.SyncAPIClient, sdk.AsyncAPIClient):
            setattr(client, "_process_response", _noting(client._process_response))


def _noting(process: Callable[..., Any]) -> Callable[..., Any]:
    """Note how often the SDK sent the request before this answer came."""

    @functools.wraps(process)
    def noting(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = call_under_way.get()
        if isinstance(call, _Call):
            call.retries = kwargs.get("retries_taken", 0)
        return process(self, *args, **kwargs)

    return noting


def wrap_post(post: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the client's one way out."""

    @functools.wraps(post)
    def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        api = _APIS.get(path)
        if api is None or not lifecycle.is_active():
            return post(self, path, **kwargs)
        call = _new_call(self, api, kwargs)
        if call is None:
            return post(self, path, **kwargs)
        with call:
            answer = post(self, path, **call.kwargs)
        call.take(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


def wrap_async_post(post: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the asynchronous client's one way out."""

    @functools.wraps(post)
    async def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        api = _APIS.get(path)
        if api is None or not lifecycle.is_active():
            return await post(self, path, **kwargs)
        call = _new_call(self, api, kwargs)
        if call is None:
            return await post(self, path, **kwargs)
        with call:
            answer = await until_deadline(post(self, path, **call.kwargs))
        call.take(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


class _Call(CurrentCall):
    """One call and its span, from the request to the end of the answer or of its stream."""

    def __init__(self, client: Any, api: _Api, kwargs: dict[str, Any]) -> None:
        super().__init__()
        self.kwargs = kwargs
        self._api = api
        body = kwargs.get("body")
        self._body: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        self._usage: Any = None
        self._hides_usage_chunk = False
        self._finish_reasons: list[str] = []
        self._is_stream, self._pieces = False, 0
        self._said: StreamedChoices | None = None
        self.retries = 0
        """How often the SDK sent the request again."""
        self._started = time.perf_counter()
        self._told: dict[str, Any] = {}  # what the answer says of itself, for the span's end
        self._server = _known_server(client)
        self._shape = self._server.chat_shape if api.api_type == "chat_completions" else api.shape
        is_decision = api.operation == semconv.CHAT
        held = before_model_call(self._body, self._terms(), is_decision=is_decision)
        self._owners = Owners.current(held)
        self.kwargs = within_deadline(client, self.kwargs)
        self._begin()

    def _terms(self) -> Terms:
        model, tier = self._body.get("model"), self._body.get("service_tier")
        return Terms(self._server.provider, model, tier, server_address=self._server.host)

    @guarded(default=None)
    def _begin(self) -> None:
        self._ask_for_usage()
        asked = self._body.get
        model, choices = asked("model"), asked("n")
        attributes: dict[str, Any] = {
            semconv.OPERATION: self._api.operation,
            semconv.PROVIDER: self._server.provider,
            semconv.OPENAI_API_TYPE: self._api.api_type,
            semconv.SERVER_ADDRESS: self._server.host,
            semconv.SERVER_PORT: self._server.port,
            semconv.REQUEST_MODEL: model,
            semconv.REQUEST_STREAM: True if self.kwargs.get("stream") else None,
            semconv.REQUEST_MAX_TOKENS: asked("max_completion_tokens")
            or asked("max_output_tokens") or asked("max_tokens"),
            semconv.REQUEST_CHOICES: choices if choices != 1 else None,
            semconv.OPENAI_REQUEST_TIER: asked("service_tier"),
        }  # fmt: skip
        if lifecycle.captures_content():
            attributes[semconv.INPUT_MESSAGES] = _content(asked("messages") or asked("input"))
        self.span = lifecycle.tracer().start_span(
            f"{self._api.operation} {model}",
            kind=SpanKind.CLIENT,
            attributes={k: value for k, value in attributes.items() if isinstance(value, _PLAIN)},
        )
        count_model_call(self.span, is_decision=self._api.operation == semconv.CHAT)

    def _ask_for_usage(self) -> None:
        """A chat stream tells its usage only when asked; ask, and keep the extra chunk to us."""
        if self._api.api_type != "chat_completions" or not self.kwargs.get("stream"):
            return
        options = self._body.get("stream_options")
        options = options if isinstance(options, Mapping) else {}
        if "include_usage" not in options:
            self._hides_usage_chunk = True
            self._body = {**self._body, "stream_options": {**options, "include_usage": True}}
            self.kwargs = {**self.kwargs, "body": self._body}

    @guarded(default=None)
    def _fail(self, error: BaseException) -> None:
        status = getattr(error, "status_code", None)
        if isinstance(status, int):
            self.span.set_attribute(semconv.HTTP_STATUS, status)
        self.span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)
        self.span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))
        self.span.end()
        after_model_call(self.span, self._owners, failed=True)

    @guarded(default=None)
    def take(self, answer: Any) -> None:
        """Record the answer, or watch it stream."""
        if self.retries:
            self._told[semconv.RESEND_COUNT] = self.retries
        if field(answer, "_iterator") is not None:
            self._is_stream = True
            if self._api.api_type == "chat_completions" and lifecycle.captures_content():
                self._said = StreamedChoices(_MAX_CONTENT)
            observe(answer, self)
            return
        self._read(_data_of(answer))
        if self._usage is None:
            note_started(answer, self._owners)
        self.end(None)

    @guarded(default=None)
    def _read(self, data: Any) -> None:
        """Take what a whole answer says: a response, or an event that carries one."""
        read = reader(data)
        self._usage = read("usage") or self._usage
        for key, name in _TOLD:
            value = read(name)
            if isinstance(value, str) and value:
                self._told[key] = value
        for choice in read("choices") or ():
            if isinstance(reason := field(choice, "finish_reason"), str):
                self._finish_reasons.append(reason)
        if isinstance(status := read("status"), str):
            details = plain(read("incomplete_details"))
            self._finish_reasons = [_responses_reason(status, details)]
        if self._said is not None or not lifecycle.captures_content():
            return
        if said := read("choices") or read("output"):
            self._told[semconv.OUTPUT_MESSAGES] = _content([plain(part) for part in said])

    # A stream's observer.

    def item(self, item: Any) -> bool:
        """See one chunk or event."""
        if self._started:
            waited, self._started = time.perf_counter() - self._started, 0.0
            self._told[semconv.TIME_TO_FIRST_CHUNK] = waited
        self._pieces += _pieces_of(item)
        response = field(item, "response")
        if response is not None:
            self._read(response)
        elif self._api.api_type == "chat_completions":
            self._read(item)
            if self._said is not None:
                self._said.add(item)
            is_extra = self._hides_usage_chunk and not field(item, "choices")
            return not (is_extra and field(item, "usage") is not None)
        return True

    @guarded(default=None)
    def end(self, error: BaseException | None) -> None:
        """End the span with what is known; a stream that broke has no usage, not zero."""
        span = self.span
        if self._finish_reasons:
            self._told[semconv.FINISH_REASONS] = tuple(dict.fromkeys(self._finish_reasons))
        if self._said is not None:
            self._told[semconv.OUTPUT_MESSAGES] = _content(self._said.whole())
        is_broken = self._is_stream and (self._usage is None or not self._finish_reasons)
        if self._usage is not None and not is_broken:
            terms = self._answered_terms()
            account(span, self._usage, self._shape, terms, self._owners, self._told)
        else:
            put(span, self._told)
            if is_broken:
                account_broken(
                    span, self._usage, self._shape, self._answered_terms(), self._owners,
                    pieces=self._pieces,
                )  # fmt: skip
        if error is not None:
            self._fail(error)
            return
        span.end()
        after_model_call(span, self._owners, failed=False)

    def _answered_terms(self) -> Terms:
        told, server = self._told.get, self._server
        model = told(semconv.RESPONSE_MODEL) or self._body.get("model")
        tier = told(semconv.OPENAI_RESPONSE_TIER)
        return Terms(server.provider, model, tier, server_address=server.host)


@guarded(default=NOBODY)
def _known_server(client: Any) -> Server:
    return server_of(client)


@guarded(default=None)
def _new_call(client: Any, api: _Api, kwargs: dict[str, Any]) -> _Call | None:
    return _Call(client, api, kwargs)


def _data_of(answer: Any) -> Any:
    """Return the parsed answer, also from a raw response that has been read."""
    if (response := field(answer, "http_response")) is None:
        return answer
    with contextlib.suppress(Exception):  # not read yet, or not JSON: its span has no usage
        return json.loads(response.content)
    return {}


def _pieces_of(item: Any) -> int:
    """Return how many pieces of text a chunk or event brings; each is a token at least."""
    if field(item, "type") == "response.output_text.delta":
        return int(bool(field(item, "delta")))
    deltas = (field(choice, "delta") for choice in field(item, "choices") or ())
    return sum(bool(field(delta, "content")) for delta in deltas)


def _responses_reason(status: str, details: Any) -> str:
    reason = details.get("reason") if isinstance(details, Mapping) else None
    return reason or {"completed": "stop", "failed": "error"}.get(status, status)


def _content(value: Any) -> str | None:
    return None if value is None else json.dumps(value, default=str)[:_MAX_CONTENT]
