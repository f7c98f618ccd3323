"""A stream that broke off: what is known of it, on its span and in the budgets. Never zero.

The prompt is what the provider's first event said. The output is at most what the request allowed,
and at least the pieces of text that came, on the assumption that each is one token or more: so
providers stream today, but none promises it. The request's limit is certain, so it caps the pieces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span

from taximeter import semconv
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms, bound_pico, cost_pico
from taximeter.runs.levels import Amount
from taximeter.runs.model_calls import json_text, plain, read_usage
from taximeter.runs.reservations import Owners
from taximeter.span_attributes import put

if TYPE_CHECKING:
    from taximeter.usage import Usage

_OUTPUT: Final = (
    "output_tokens", "output_tokens_details", "completion_tokens", "completion_tokens_details",
    "total_tokens", "server_tool_use", "iterations",
)  # fmt: skip
"""Fields of usage objects that are not final before the stream's end."""


@guarded(default=None)
def account_broken(
    span: Span,
    usage: Any,
    shape: str,
    terms: Terms,
    owners: Owners,
    *,
    pieces: int,
) -> None:
    """Stamp what a broken stream had told; let it use up the budgets of its run and of those above.

    By the upper bound where the request had a token limit and the prompt is known, else by the
    lower one. ``usage`` is the last usage object, None where none came; ``pieces`` are the
    non-empty pieces of text that came.
    """
    limit = _allowed(span)
    least = max(pieces, _counted(usage))
    least = least if limit is None else min(least, limit)
    if least:
        span.set_attribute(semconv.OUTPUT_AT_LEAST, least)
    prompt, raw, most = None, {}, None
    if isinstance(seen := plain(usage), Mapping):
        raw = {key: value for key, value in seen.items() if key not in _OUTPUT}
        said: dict[str, Any] = {semconv.USAGE: json_text(raw)}
        try:
            prompt, terms = read_usage(span, raw, shape, terms, said)
        finally:
            put(span, said)
        most = limit
    whole = _whole(prompt, max(least, most or 0))
    cost = cost_pico(span, whole, raw, terms, owners.run.name if owners.run is not None else None)
    if cost is None and owners.has_cost_limit():
        cost = bound_pico(whole, terms)
    total = whole.total_tokens or 0
    for level in owners.levels():
        level.note_unsettled(Amount(total - (whole.output or 0), whole.output or 0, cost or 0))
    if owners.reservation is not None:
        owners.reservation.settled()
    if owners.request is not None:
        span.set_attribute(semconv.COST_SO_FAR, owners.request.cost_usd)


def _whole(prompt: Usage | None, output: int) -> Usage:
    """Return the prompt, where it is known, with so much output."""
    from taximeter.usage import Usage

    known = prompt or Usage(uncached_input=0, cache_read=0, cache_write_short=0, cache_write_long=0)
    return known._replace(output=output)


def _counted(usage: Any) -> int:
    """Return the output that some providers count in every chunk; Anthropic's first is no count."""
    count = plain(usage).get("completion_tokens") if isinstance(plain(usage), Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else 0


def _allowed(span: Span) -> int | None:
    """Return the most output that the request allowed; None where it set no limit."""
    said: Mapping[str, Any] = getattr(span, "attributes", None) or {}
    limit, choices = said.get(semconv.REQUEST_MAX_TOKENS), said.get(semconv.REQUEST_CHOICES, 1)
    return limit * choices if isinstance(limit, int) and isinstance(choices, int) else None
