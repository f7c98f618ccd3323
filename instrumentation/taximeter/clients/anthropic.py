"""Anthropic's SDK. From version 2 it makes GenAI spans itself: we add what they lack.

That is the provider's usage object, the cost so far, the limits before a call, and one span a
result when a batch is collected. Older versions get a span of ours.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, cast

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import Span, StatusCode

from taximeter import lifecycle, semconv
from taximeter.clients.anthropic_batches import watch_batches
from taximeter.clients.anthropic_calls import (
    MARK,
    Call,
    is_message,
    terms_of,
    text,
    traced_async_post,
    traced_post,
)
from taximeter.clients.anthropic_events import StreamedUsage
from taximeter.clients.broken_streams import account_broken
from taximeter.clients.fields import field
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms
from taximeter.runs.deadlines import raise_if_overdue, until_deadline, within_deadline
from taximeter.runs.model_calls import (
    account,
    after_model_call,
    before_model_call,
    count_model_call,
)
from taximeter.runs.reservations import Owners, Reservation

_NATIVE_SCOPE: Final = "com.anthropic.sdk."
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
    if getattr(sdk.SyncAPIClient.post, MARK, False):
        return
    is_native = int(version.split(".")[0]) >= 2
    post, async_post = (
        (_checked_post, _checked_async_post) if is_native else (traced_post, traced_async_post)
    )
    setattr(sdk.SyncAPIClient, "post", post(sdk.SyncAPIClient.post))
    setattr(sdk.AsyncAPIClient, "post", async_post(sdk.AsyncAPIClient.post))
    if is_native:
        _add_usage()
    watch_batches()


def _checked_post(post: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(post)
    def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not is_message(path) or not lifecycle.is_active():
            return post(self, path, **kwargs)
        body = kwargs.get("body")
        terms = terms_of(self, body)
        unseen = _Unseen(self, body, terms, before_model_call(body, terms))
        with unseen.sending():
            answer = post(self, path, **within_deadline(self, kwargs))
        unseen.answered(answer)
        return answer

    setattr(wrapped, MARK, True)
    return wrapped


def _checked_async_post(post: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(post)
    async def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not is_message(path) or not lifecycle.is_active():
            return await post(self, path, **kwargs)
        body = kwargs.get("body")
        terms = terms_of(self, body)
        unseen = _Unseen(self, body, terms, before_model_call(body, terms))
        with unseen.sending():
            answer = await until_deadline(post(self, path, **within_deadline(self, kwargs)))
        unseen.answered(answer)
        return answer

    setattr(wrapped, MARK, True)
    return wrapped


class _Unseen:
    """A call until its native span has started: a sampler may drop that, or the client's spans are off.

    The budgets must know of it all the same. Where a sampler dropped it, it gets no span of ours.
    """

    def __init__(
        self, client: Any, body: Any, terms: Terms | None, held: Reservation | None
    ) -> None:
        self._is_seen = False
        self._terms, self._held = terms, held
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

    def _call(self) -> Call:
        owners = Owners.current(self._held)
        return Call(
            self._body, self._terms, owners, began_ns=self._began, has_span=not self._is_dropped
        )


@guarded(default=False)
def _has_spans_here(client: Any) -> bool:
    """Return whether the client makes spans, and with the provider that we have joined."""
    own = field(getattr(client, "_open_telemetry", None), "tracer_provider")
    return own is None and getattr(client, "_tracer", None) is not None


@guarded(default=None)
def _add_usage() -> None:
    """The native span sums the usage; where it does, put the object itself beside the sums."""
    from anthropic.lib._tracing import _api_call, _streaming

    sums = getattr(_api_call, "set_usage_sums")  # noqa: B009 - it does not export it

    def with_object(span: Any, message: Any, **known: Any) -> None:
        sums(span, message, **known)
        if (usage := field(message, "usage")) is not None:
            _account_native(span, account, usage, field(message, "model"))

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
    model = told.model or text(attributes.get(semconv.REQUEST_MODEL))
    _account_native(span, tell, told.usage or None, model)


@guarded(default=None)
def _account_native(span: Span, tell: Callable[..., None], usage: Any, model: Any) -> None:
    span_id = span.get_span_context().span_id
    if span_id not in _owners or not lifecycle.is_active():
        return  # no span that we see: `_Unseen` counts the call
    attributes = getattr(span, "attributes", None) or {}
    provider = text(attributes.get(semconv.PROVIDER)) or "anthropic"
    address = text(attributes.get(semconv.SERVER_ADDRESS))
    tell(span, usage, "anthropic", Terms(provider, model, server_address=address), _owners[span_id])
