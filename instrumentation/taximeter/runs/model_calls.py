"""What every model SDK's hook does: check the limits, number the call, account for its usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from opentelemetry.trace import Span

from taximeter import lifecycle, semconv
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms, bound_pico, cost_pico, region_of
from taximeter.runs.current import Request, are_limited, counts_here, current_agent, current_levels
from taximeter.runs.estimates import ask_of
from taximeter.runs.levels import Amount, Level
from taximeter.runs.limits import CANCELLATIONS
from taximeter.runs.reservations import Owners, Reservation
from taximeter.runs.side_work import is_side_work
from taximeter.span_attributes import put
from taximeter.usage import Usage, normalise_usage

json_text: Final = json.JSONEncoder(separators=(",", ":"), default=str).encode
RETRY_WITHIN_NS: Final = 120 * 10**9
"""A call that failed and is made again within this time is one decision, as in the collector."""


@guarded(default=None)
def before_model_call(
    body: Any = None, terms: Terms | None = None, *, is_decision: bool = True
) -> Reservation | None:
    """Hold what the call may use; raise LimitReached where a limit does not allow it.

    ``body`` is the request, ``terms`` what is known of its price: without them nothing is held. Give
    the reservation on with the call's `Owners`, and tell `after_model_call` of its end.
    """
    levels, meter = current_levels(), lifecycle.meter()
    if meter is not None and meter.fleet is not None:
        meter.fleet.check(levels, terms, meter.resource)
    if not are_limited(levels):
        return None
    ask = ask_of(body, terms, has_answer=is_decision) if terms is not None else None
    return Reservation(levels, ask, is_decision=is_decision and not is_side_work())


@guarded(default=None)
def count_model_call(span: Span, *, is_decision: bool = True) -> None:
    """Number a call that has started: the run's iteration, the request's loop."""
    levels, run = current_levels(), current_agent.get()
    is_decision = is_decision and not is_side_work()
    is_again = is_decision and bool(levels) and _is_again(levels[0], span)
    for at, level in enumerate(levels):
        with level.lock:
            if is_decision and not is_again and counts_here(levels, at):
                level.iterations += 1
            if isinstance(level, Request):
                level.model_calls += 1
                level.own_decisions += is_decision and run is None and not is_again
                length = run.iterations if run is not None else level.own_decisions
                level.loop_length = max(level.loop_length, length)
            if at == 0 and is_decision:
                level.order.next_turn()
    if run is None:
        return
    # Whose call it is: the run's own span says so when the run is over, and a loop may take hours.
    said: dict[str, Any] = dict(run.said) if _said(span, semconv.AGENT_NAME) is None else {}
    if is_decision:
        said[semconv.ITERATION] = run.iterations
    put(span, said)


@guarded(default=None)
def after_model_call(span: Span, owners: Owners, *, failed: bool) -> None:
    """See a call's span end: what it held is free, and a failed one may be made again."""
    if owners.reservation is not None:
        owners.reservation.release(has_answered=not failed)
    innermost = owners.run or owners.request
    failed = failed and _said(span, semconv.ERROR_TYPE) not in CANCELLATIONS
    if failed and innermost is not None and not _said(span, semconv.RESEND_COUNT):
        ended = getattr(span, "end_time", None) or lifecycle.now_ns()
        with innermost.lock:
            innermost.failed[_same_call(span)] = ended


def _is_again(level: Level, span: Span) -> bool:
    """Return whether the call is an attempt of the one that failed before it."""
    if not level.failed:
        return False
    started = getattr(span, "start_time", None) or lifecycle.now_ns()
    with level.lock:
        failed_at = level.failed.pop(_same_call(span), None)
    return failed_at is not None and 0 <= started - failed_at < RETRY_WITHIN_NS


def _same_call(span: Span) -> tuple[Any, ...]:
    parent = getattr(span, "parent", None)
    return (
        parent.span_id if parent is not None else None,
        _said(span, semconv.OPERATION),
        _said(span, semconv.REQUEST_MODEL),
        _said(span, semconv.INPUT_MESSAGES),
    )


def _said(span: Span, key: str) -> Any:
    return (getattr(span, "attributes", None) or {}).get(key)


@guarded(default=None)
def account(
    span: Span,
    usage: Any,
    shape: str,
    terms: Terms,
    owners: Owners | None = None,
    told: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Stamp the provider's usage object on the span; add tokens and cost to run and request.

    ``told`` is what else the answer says, for the span: at once is cheaper.
    """
    said = dict(told)
    try:
        raw = plain(usage)
        if type(raw) is not dict and not isinstance(raw, Mapping):
            return
        found = owners or Owners.current()
        said[semconv.USAGE] = _json_of(usage, raw)
        partition, terms = read_usage(span, raw, shape, terms, said)
        agent = found.run.name if found.run is not None else None
        _settle(found, partition, cost_pico(span, partition, raw, terms, agent), terms)
        meter = lifecycle.meter()
        if meter is not None and meter.fleet is not None:
            meter.fleet.learn(terms, _said(span, semconv.REQUEST_MODEL))
        if found.request is not None:
            said[semconv.COST_SO_FAR] = found.request.cost_usd
    finally:
        put(span, said)


def _settle(owners: Owners, usage: Usage, cost: int | None, terms: Terms) -> None:
    """Count a finished call for all whose it is."""
    bound = bound_pico(usage, terms) if cost is None and owners.has_cost_limit() else 0
    used = Amount(usage.prompt_tokens or 0, usage.answer_tokens or 0, cost or 0)
    for level in owners.levels():
        level.note_usage(used, is_priced=cost is not None, bound_pico=bound)
    if owners.reservation is not None:
        owners.reservation.settled()


def read_usage(
    span: Span, raw: Mapping[str, Any], shape: str, terms: Terms, said: dict[str, Any]
) -> tuple[Usage, Terms]:
    """Return the tokens of a usage object, and its terms; put what the span should say into ``said``.

    Raises ValueError for counts that contradict each other.
    """
    is_fast = raw.get("speed") == "fast"
    tier = "fast" if is_fast else terms.tier or _text(raw.get("service_tier"))
    region = region_of(raw.get("inference_geo"))
    said[semconv.USAGE_SHAPE] = shape
    if tier:
        said[semconv.SERVICE_TIER] = tier
    if terms.batch:
        said[semconv.BATCH] = True
    if region:
        said[semconv.REGION_CLASS] = region
    partition = normalise_usage(shape, raw)
    if _is_ours(span) or _said(span, semconv.OUTPUT_TOKENS) is None:
        said.update(_token_counts(partition))
    if tier != terms.tier or region != terms.region:
        terms = terms._replace(tier=tier, region=region)
    return partition, terms


def _is_ours(span: Span) -> bool:
    """Return whether the shim made the span: an SDK's own may say its tokens already."""
    scope = getattr(span, "instrumentation_scope", None)
    return scope is not None and scope.name == semconv.SCOPE


def _token_counts(usage: Usage) -> dict[str, int]:
    """Return the tokens as every backend reads them."""
    counts = {semconv.INPUT_TOKENS: usage.prompt_tokens, semconv.OUTPUT_TOKENS: usage.output}
    if usage.cache_reported:
        counts[semconv.CACHE_READ_TOKENS] = usage.cache_read
        counts[semconv.CACHE_WRITE_TOKENS] = (usage.cache_write_short or 0) + (
            usage.cache_write_long or 0
        )
    counts[semconv.REASONING_TOKENS] = usage.reasoning
    return {key: count for key, count in counts.items() if count is not None}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _json_of(usage: Any, raw: Mapping[str, Any]) -> str:
    """Return the usage object as JSON; a model writes it itself in less time."""
    if (dump := getattr(usage, "model_dump_json", None)) is not None:
        return str(dump(exclude_none=True, warnings=False))
    return json_text(raw)


def plain(value: Any) -> Any:
    """Return an SDK's object as JSON-like data."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", exclude_none=True, warnings=False)
    return value
