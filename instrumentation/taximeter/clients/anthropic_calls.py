"""One call of Anthropic's SDK: a span of ours where the SDK makes none, and what the budgets must know."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from opentelemetry.trace import SpanKind, Status, StatusCode

from taximeter import lifecycle, semconv
from taximeter.clients.anthropic_events import StreamedUsage, usage_of
from taximeter.clients.broken_streams import account_broken
from taximeter.clients.fields import field
from taximeter.clients.sending import CurrentCall
from taximeter.clients.servers import server_of
from taximeter.clients.streams import observe
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms
from taximeter.runs.deadlines import until_deadline, within_deadline
from taximeter.runs.model_calls import (
    account,
    after_model_call,
    before_model_call,
    count_model_call,
)
from taximeter.runs.reservations import Owners
from taximeter.span_attributes import put

MARK: Final = "_taximeter_wrapped"
_MESSAGES: Final = "/v1/messages"


def is_message(path: str) -> bool:
    """Return whether a request is a model call."""
    return path.split("?")[0] == _MESSAGES


@guarded(default=None)
def terms_of(client: Any, body: Any) -> Terms | None:
    """Return what is known of a call's price before it."""
    server = server_of(client)
    return Terms(server.cloud or "anthropic", field(body, "model"), server_address=server.host)


def traced_post(post: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the client's one way out; before version 2 the SDK makes no spans."""

    @functools.wraps(post)
    def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not is_message(path) or not lifecycle.is_active():
            return post(self, path, **kwargs)
        call = _new_call(self, kwargs.get("body"))
        if call is None:
            return post(self, path, **kwargs)
        with call:
            answer = post(self, path, **within_deadline(self, kwargs))
        call.take(answer)
        return answer

    setattr(wrapped, MARK, True)
    return wrapped


def traced_async_post(post: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the asynchronous client's one way out."""

    @functools.wraps(post)
    async def wrapped(self: Any, path: str, **kwargs: Any) -> Any:
        if not is_message(path) or not lifecycle.is_active():
            return await post(self, path, **kwargs)
        call = _new_call(self, kwargs.get("body"))
        if call is None:
            return await post(self, path, **kwargs)
        with call:
            answer = await until_deadline(post(self, path, **within_deadline(self, kwargs)))
        call.take(answer)
        return answer

    setattr(wrapped, MARK, True)
    return wrapped


def _new_call(client: Any, body: Any) -> Call | None:
    """Return the call that starts; None where a fault of ours keeps it from being measured."""
    terms = terms_of(client, body)
    held = before_model_call(body, terms)
    call = _made(body, terms, Owners.current(held))
    if call is None and held is not None:
        held.release()
    return call


@guarded(default=None)
def _made(body: Any, terms: Terms | None, owners: Owners) -> Call | None:
    return Call(body, terms, owners)


class Call(CurrentCall):
    """One call that no span of the SDK tells of."""

    def __init__(
        self,
        body: Any,
        terms: Terms | None,
        owners: Owners,
        *,
        began_ns: int | None = None,
        has_span: bool = True,
    ) -> None:
        super().__init__()
        self._terms = terms or Terms("anthropic", None)
        self._owners = owners
        self._started = time.perf_counter()
        self._told = StreamedUsage()
        self._is_stream = False
        self._model: Any = None
        body = body if isinstance(body, Mapping) else {}
        self._model = body.get("model")
        if has_span:
            self._begin(body, began_ns)
        count_model_call(self.span)

    @guarded(default=None)
    def _begin(self, body: Mapping[str, Any], began_ns: int | None) -> None:
        attributes: dict[str, Any] = {
            semconv.OPERATION: semconv.CHAT,
            semconv.PROVIDER: self._terms.provider,
            semconv.REQUEST_MODEL: str(self._model),
        }
        if self._terms.server_address is not None:
            attributes[semconv.SERVER_ADDRESS] = self._terms.server_address
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
        put(self.span, told_by(answer))
        self._told.model, self._told.usage = field(answer, "model"), usage_of(answer)
        self._told.is_complete = True
        self.end(None)

    def item(self, event: Any) -> bool:
        """See one stream event."""
        kind = field(event, "type")
        self._told.item(event)
        if kind == "message_start":
            self.span.set_attribute(
                semconv.TIME_TO_FIRST_CHUNK, time.perf_counter() - self._started
            )
            put(self.span, told_by(field(event, "message")))
        elif isinstance(reason := field(field(event, "delta"), "stop_reason"), str):
            self.span.set_attribute(semconv.FINISH_REASONS, (reason,))
        return True

    @guarded(default=None)
    def end(self, error: BaseException | None) -> None:
        """End the span with what is known."""
        told = self._told
        if self._is_stream and not told.is_complete or told.usage:
            tell = account if told.is_complete else partial(account_broken, pieces=told.pieces)
            terms = self._terms._replace(model=told.model or self._model)
            tell(self.span, told.usage or None, "anthropic", terms, self._owners)
        if error is not None:
            if isinstance(status := getattr(error, "status_code", None), int):
                self.span.set_attribute(semconv.HTTP_STATUS, status)
            self.span.set_attribute(semconv.ERROR_TYPE, type(error).__name__)
            self.span.set_status(Status(StatusCode.ERROR, str(error)[:1_000]))
        self.span.end()
        after_model_call(self.span, self._owners, failed=error is not None)


def told_by(message: Any) -> dict[str, Any]:
    """Return what an answer says of itself, as a span says it."""
    told: dict[str, Any] = {}
    for key, name in ((semconv.RESPONSE_ID, "id"), (semconv.RESPONSE_MODEL, "model")):
        if isinstance(value := field(message, name), str):
            told[key] = value
    if isinstance(reason := field(message, "stop_reason"), str):
        told[semconv.FINISH_REASONS] = (reason,)
    return told


def text(value: Any) -> str | None:
    """Return a text, None for anything else."""
    return value if isinstance(value, str) else None
