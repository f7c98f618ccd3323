"""Anthropic's SDK. From version 2 it makes GenAI spans itself: we add what they lack.

That is the provider's usage object, the cost so far, the limits before a call, and one span a
result when a batch is collected. Older versions get a span of ours.
"""

from __future__ import annotations

import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, cast
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.anthropic_events import StreamedUsage, get, usage_of
from taximeter.broken_streams import account_broken
from taximeter.call_cost import Terms
from taximeter.deadlines import raise_if_overdue, until_deadline, within_deadline
from taximeter.guard import guarded
from taximeter.model_calls import (
    account,
    after_model_call,
    before_model_call,
    count_model_call,
)
from taximeter.reservations import Owners, Reservation
from taximeter.spans import current_span
from taximeter.streams import observe

_MARK: Final = "_taximeter_wrapped"
_NATIVE_SCOPE: Final = "com.anthropic.sdk."
_MESSAGES: Final = "/v1/messages"
_BATCHES_REMEMBERED: Final = 100_000
_owners: Final[dict[int, Owners]] = {}
"""Whose a native span is, from its start to its end: a stream may end in another context."""
_streams: Final[dict[int, StreamedUsage]] = {}
"""What the stream of a native span has told."""


_unseen: Final[ContextVar[_Unseen | None]] = ContextVar("taximeter_anthropic", default=None)
"""The call under way, until its native span has started."""


class NativeCalls(SpanProcessor):
    """Numbers the SDK's own model-call spans as they start."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Count a starting call."""
        self._count(span)

    @guarded(default=None)
    def _count(self, span: SdkSpan) -> None:
        scope = span.instrumentation_scope
        if scope is None or not scope.name.startswith(_NATIVE_SCOPE):
            return
        if (span.attributes or {}).get(semconv.OPERATION) == semconv.CHAT:
            unseen = _unseen.get()
            held = unseen.seen() if unseen is not None else None
            context = span.get_span_context()
            if context is not None:
                _owners[context.span_id] = Owners.current(held)
            count_model_call(span)

    def on_end(self, span: ReadableSpan) -> None:
        """Forget whose it was."""
        context = span.get_span_context()
        if context is not None:
            owners = _owners.pop(context.span_id, None)
            _streams.pop(context.span_id, None)
            if owners is not None:
                failed = span.status.status_code is StatusCode.ERROR
                after_model_call(cast(Span, span), owners, failed=failed)


@guarded(default=None)
def install() -> None:
    """Wrap the SDK if it is there; once."""
    try:
        from anthropic import __version__ as version
        from anthropic import _base_client as sdk
    except ImportError:
        return
    if getattr(sdk.SyncAPIClient.post, _MARK, False):
        return
    is_native = int(version.split(".")[0]) >= 2
    post, async_post = (
        (_checked_post, _checked_async_post) if is_native else (_traced_post, _traced_async_post)
    )
    setattr(sdk.SyncAPIClient, "post", post(sdk.SyncAPIClient.post))
    setattr(sdk.AsyncAPIClient, "post", async_post(sdk.AsyncAPIClient.post))
    if is_native:
        _add_usage()
    _watch_batches()


def _is_message(path: str) -> bool:
    return path.split("?")[0] == _MESSAGES


def _checked_post(post: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(post)
    def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not _is_message(path) or not lifecycle.is_active():
            return post(self, path, **kwargs)
        body = kwargs.get("body")
        unseen = _Unseen(self, body, before_model_call(body, _terms(self, body)))
        with unseen.sending():
            answer = post(self, path, **within_deadline(self, kwargs))
        unseen.answered(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


def _checked_async_post(post: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(post)
    async def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not _is_message(path) or not lifecycle.is_active():
            return await post(self, path, **kwargs)
        body = kwargs.get("body")
        unseen = _Unseen(self, body, before_model_call(body, _terms(self, body)))
        with unseen.sending():
            answer = await until_deadline(post(self, path, **within_deadline(self, kwargs)))
        unseen.answered(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


@guarded(default=None)
def _terms(client: Any, body: Any) -> Terms | None:
    server = urlsplit(str(getattr(client, "base_url", ""))).hostname
    return Terms("anthropic", get(body, "model"), server_address=server)


class _Unseen:
    """A call until its native span has started: a sampler may drop that, or the client's spans are off.

    The budgets must know of it all the same. Where a sampler dropped it, it gets no span of ours.
    """

    def __init__(self, client: Any, body: Any, held: Reservation | None) -> None:
        self._is_seen = False
        self._held = held
        self._body, self._began = body, lifecycle.now_ns()
        self._is_dropped = _has_spans_here(client)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Send the request; its native span finds the call here."""
        token = _unseen.set(self)
        try:
            yield
        except BaseException as error:
            self._failed(error)
            raise_if_overdue(error)
            raise
        finally:
            _unseen.reset(token)

    def seen(self) -> Reservation | None:
        """Note that a native span tells of the call, and hand over what the call holds."""
        if self._is_seen:
            return None
        self._is_seen = True
        return self._held

    @guarded(default=None)
    def answered(self, answer: Any) -> None:
        """Count an answer that no native span tells of."""
        if not self._is_seen:
            self._call().take(answer)

    @guarded(default=None)
    def _failed(self, error: BaseException) -> None:
        if not self._is_seen:
            self._call().end(error)

    def _call(self) -> _Call:
        owners = Owners.current(self._held)
        return _Call(self._body, owners, began_ns=self._began, has_span=not self._is_dropped)


@guarded(default=False)
def _has_spans_here(client: Any) -> bool:
    """Return whether the client makes spans, and with the provider that we have joined."""
    own = get(getattr(client, "_open_telemetry", None), "tracer_provider")
    return own is None and getattr(client, "_tracer", None) is not None


@guarded(default=None)
def _add_usage() -> None:
    """The native span sums the usage; where it does, put the object itself beside the sums."""
    from anthropic.lib._tracing import _api_call, _streaming

    sums = getattr(_api_call, "set_usage_sums")  # noqa: B009 - it does not export it

    def with_object(span: Any, message: Any, **known: Any) -> None:
        sums(span, message, **known)
        if (usage := get(message, "usage")) is not None:
            _account_native(span, account, usage, get(message, "model"))

    setattr(_api_call, "set_usage_sums", with_object)
    item, end = _streaming.StreamedMessage.item, _streaming.StreamedMessage.end

    @functools.wraps(item)
    def seen(self: Any, event: object) -> None:
        item(self, event)
        _see_event(self._span, event)

    @functools.wraps(end)
    def ended(self: Any, *args: Any, **kwargs: Any) -> None:
        _account_stream(self._span)
        end(self, *args, **kwargs)

    setattr(_streaming.StreamedMessage, "item", seen)
    setattr(_streaming.StreamedMessage, "end", ended)


@guarded(default=None)
def _see_event(span: Span, event: Any) -> None:
    span_id = span.get_span_context().span_id
    if span_id in _owners:
        _streams.setdefault(span_id, StreamedUsage()).item(event)


@guarded(default=None)
def _account_stream(span: Span) -> None:
    """Account what the stream told, also where its helper gave up or nothing came at all."""
    told = _streams.pop(span.get_span_context().span_id, None) or StreamedUsage()
    tell = account if told.is_complete else partial(account_broken, pieces=told.pieces)
    attributes = getattr(span, "attributes", None) or {}
    model = told.model or _text(attributes.get(semconv.REQUEST_MODEL))
    _account_native(span, tell, told.usage or None, model)


@guarded(default=None)
def _account_native(span: Span, tell: Callable[..., None], usage: Any, model: Any) -> None:
    span_id = span.get_span_context().span_id
    if span_id not in _owners or not lifecycle.is_active():
        return  # no span that we see: `_Unseen` counts the call
    attributes = getattr(span, "attributes", None) or {}
    provider = attributes.get(semconv.PROVIDER)
    tell(
        span, usage, "anthropic",
        provider=provider if isinstance(provider, str) else "anthropic",
        model=model,
        server_address=_text(attributes.get(semconv.SERVER_ADDRESS)),
        owners=_owners[span_id],
    )  # fmt: skip


# Batches: the results are where their usage is.

_collected: Final[OrderedDict[str, None]] = OrderedDict()


@guarded(default=None)
def _watch_batches() -> None:
    from anthropic.resources.beta.messages import batches as beta
    from anthropic.resources.messages import batches as stable

    for batches in (stable, beta):
        setattr(batches.Batches, "results", _watched(batches.Batches.results))
        setattr(batches.AsyncBatches, "results", _async_watched(batches.AsyncBatches.results))


def _watched(results: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(results)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _watch(results(*args, **kwargs))

    return wrapped


def _async_watched(results: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(results)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        return _watch(await results(*args, **kwargs))

    return wrapped


def _watch(decoder: Any) -> Any:
    _observe_results(decoder)
    return decoder


@guarded(default=None)
def _observe_results(decoder: Any) -> None:
    if lifecycle.is_active() and hasattr(decoder, "_iterator"):
        observe(decoder, _BatchResults())


class _BatchResults:
    """Makes one span a result; a batch collected twice is counted once."""

    def item(self, item: Any) -> bool:
        """See one result."""
        result = get(item, "result")
        message = get(result, "message")
        message_id = get(message, "id")
        if message is not None and message_id not in _collected:
            _collected[message_id] = None
            while len(_collected) > _BATCHES_REMEMBERED:
                _collected.popitem(last=False)
            _batch_span(message)
        return True

    def end(self, error: BaseException | None) -> None:
        """Nothing to end."""


def _batch_span(message: Any) -> None:
    model = get(message, "model")
    span = lifecycle.tracer().start_span(
        f"{semconv.CHAT} {model}",
        kind=SpanKind.CLIENT,
        attributes={
            semconv.OPERATION: semconv.CHAT,
            semconv.PROVIDER: "anthropic",
            semconv.REQUEST_MODEL: str(model),
            semconv.BATCH: True,
        },
    )
    count_model_call(span)
    _describe(span, message)
    account(span, get(message, "usage"), "anthropic", provider="anthropic", model=model, batch=True)
    span.end()


def _describe(span: Span, message: Any) -> None:
    for key, name in ((semconv.RESPONSE_ID, "id"), (semconv.RESPONSE_MODEL, "model")):
        if isinstance(value := get(message, name), str):
            span.set_attribute(key, value)
    if isinstance(reason := get(message, "stop_reason"), str):
        span.set_attribute(semconv.FINISH_REASONS, [reason])


# Before version 2 the SDK makes no spans.


def _traced_post(post: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(post)
    def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not _is_message(path) or not lifecycle.is_active():
            return post(self, path, **kwargs)
        call = _new_call(self, kwargs.get("body"))
        if call is None:
            return post(self, path, **kwargs)
        try:
            with current_span(call.span):
                answer = post(self, path, **within_deadline(self, kwargs))
        except BaseException as error:
            call.end(error)
            raise_if_overdue(error)
            raise
        call.take(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


def _traced_async_post(post: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(post)
    async def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not _is_message(path) or not lifecycle.is_active():
            return await post(self, path, **kwargs)
        call = _new_call(self, kwargs.get("body"))
        if call is None:
            return await post(self, path, **kwargs)
        try:
            with current_span(call.span):
                answer = await until_deadline(post(self, path, **within_deadline(self, kwargs)))
        except BaseException as error:
            call.end(error)
            raise_if_overdue(error)
            raise
        call.take(answer)
        return answer

    setattr(wrapped, _MARK, True)
    return wrapped


def _new_call(client: Any, body: Any) -> _Call | None:
    """Return the call that starts; None where a fault of ours keeps it from being measured."""
    held = before_model_call(body, _terms(client, body))
    call = _made(body, Owners.current(held))
    if call is None and held is not None:
        held.release()
    return call


@guarded(default=None)
def _made(body: Any, owners: Owners) -> _Call | None:
    return _Call(body, owners)


class _Call:
    """One call of an SDK that makes no spans."""

    def __init__(
        self, body: Any, owners: Owners, *, began_ns: int | None = None, has_span: bool = True
    ) -> None:
        self._owners = owners
        self._started = time.perf_counter()
        self._told = StreamedUsage()
        self._is_stream = False
        self._model: Any = None
        self.span: Span = trace.INVALID_SPAN
        body = body if isinstance(body, Mapping) else {}
        self._model = body.get("model")
        if has_span:
            self._begin(body, began_ns)
        count_model_call(self.span)

    @guarded(default=None)
    def _begin(self, body: Mapping[str, Any], began_ns: int | None) -> None:
        attributes: dict[str, Any] = {
            semconv.OPERATION: semconv.CHAT,
            semconv.PROVIDER: "anthropic",
            semconv.REQUEST_MODEL: str(self._model),
        }
        if isinstance(limit := body.get("max_tokens"), int):
            attributes[semconv.REQUEST_MAX_TOKENS] = limit
        self.span = lifecycle.tracer().start_span(
            f"{semconv.CHAT} {self._model}",
            kind=SpanKind.CLIENT,
            attributes=attributes,
            start_time=began_ns,
        )

    @guarded(default=None)
    def take(self, answer: Any) -> None:
        """Record the answer, or watch it stream."""
        if hasattr(answer, "_iterator"):
            self._is_stream = True
            observe(answer, self)
            return
        _describe(self.span, answer)
        self._told.model, self._told.usage = get(answer, "model"), usage_of(answer)
        self._told.is_complete = True
        self.end(None)

    def item(self, event: Any) -> bool:
        """See one stream event."""
        kind = get(event, "type")
        self._told.item(event)
        if kind == "message_start":
            self.span.set_attribute(
                semconv.TIME_TO_FIRST_CHUNK, time.perf_counter() - self._started
            )
            _describe(self.span, get(event, "message"))
        elif isinstance(reason := get(get(event, "delta"), "stop_reason"), str):
            self.span.set_attribute(semconv.FINISH_REASONS, [reason])
        return True

    @guarded(default=None)
    def end(self, error: BaseException | None) -> None:
        """End the span with what is known."""
        told = self._told
        if self._is_stream and not told.is_complete or told.usage:
            tell = account if told.is_complete else partial(account_broken, pieces=told.pieces)
            tell(
                self.span, told.usage or None, "anthropic",
                provider="anthropic", model=told.model or self._model, owners=self._owners,
            )  # fmt: skip
        if error is not None:
            if isinstance(status := getattr(error, "status_code", None), int):
                self.span.set_attribute(semconv.HTTP_STATUS, status)
            self.span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)
            self.span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))
        self.span.end()
        after_model_call(self.span, self._owners, failed=error is not None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
