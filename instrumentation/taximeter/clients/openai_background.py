"""Responses that OpenAI makes in the background: their usage is in the answer of a later look, and counts once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from opentelemetry.trace import SpanKind

from taximeter import lifecycle, semconv
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms
from taximeter.runs.model_calls import account
from taximeter.runs.reservations import Owners

_PATH: Final = "/responses/"
_REMEMBERED: Final = 10_000
_DONE: Final = ("completed", "incomplete", "failed", "cancelled")

_waiting: Final[OrderedDict[str, Owners]] = OrderedDict()
"""Whose a background response is, from its start to the look that finds it done."""


@guarded(default=None)
def note_started(response: Any, owners: Owners) -> None:
    """Remember a response that has begun and has no usage yet."""
    response_id = getattr(response, "id", None)
    if getattr(response, "background", None) and isinstance(response_id, str):
        _waiting[response_id] = owners
        while len(_waiting) > _REMEMBERED:
            _waiting.popitem(last=False)


def is_response(path: str) -> bool:
    """Return whether a request looks at a response."""
    return path.startswith(_PATH)


@guarded(default=None)
def note_look(response: Any) -> None:
    """Count a response that a look finds done."""
    if getattr(response, "status", None) not in _DONE or not lifecycle.is_active():
        return
    owners = _waiting.pop(response.id, None)
    usage = getattr(response, "usage", None)
    if owners is None or usage is None:
        return
    model, tier = str(response.model), getattr(response, "service_tier", None)
    span = lifecycle.tracer().start_span(
        f"{semconv.CHAT} {model}",
        kind=SpanKind.CLIENT,
        attributes={
            semconv.OPERATION: semconv.CHAT,
            semconv.PROVIDER: "openai",
            semconv.OPENAI_API_TYPE: "responses",
            semconv.REQUEST_MODEL: model,
            semconv.RESPONSE_MODEL: model,
            semconv.RESPONSE_ID: response.id,
            semconv.FINISH_REASONS: ["stop" if response.status == "completed" else response.status],
            **({semconv.OPENAI_RESPONSE_TIER: tier} if tier else {}),
        },
    )
    account(span, usage, "openai_responses", Terms("openai", model, tier), owners)
    span.end()
