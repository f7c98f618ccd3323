"""A batch's collected result in, its span and its cost out: as a batch call, and each once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from opentelemetry.trace import SpanKind

from taximeter import lifecycle, semconv
from taximeter.runs.call_cost import Terms
from taximeter.runs.model_calls import account, count_model_call

_REMEMBERED: Final = 100_000

_collected: Final[OrderedDict[str, None]] = OrderedDict()
"""The ids of the results that are counted."""


def is_first_look(result_id: str) -> bool:
    """Return whether a result is collected for the first time, and remember it."""
    if result_id in _collected:
        return False
    _collected[result_id] = None
    while len(_collected) > _REMEMBERED:
        _collected.popitem(last=False)
    return True


def count_result(
    operation: str,
    provider: str,
    model: str,
    usage: Any,
    shape: str,
    *,
    told: dict[str, Any],
    tier: str | None = None,
    server_address: str | None = None,
) -> None:
    """Make the span of a result, and add it to the request and run that collect it."""
    span = lifecycle.tracer().start_span(
        f"{operation} {model}",
        kind=SpanKind.CLIENT,
        attributes={
            semconv.OPERATION: operation,
            semconv.PROVIDER: provider,
            semconv.REQUEST_MODEL: model,
            semconv.BATCH: True,
            **told,
        },
    )
    count_model_call(span, is_decision=operation == semconv.CHAT)
    terms = Terms(provider, model, tier, batch=True, server_address=server_address)
    account(span, usage, shape, terms)
    span.end()
