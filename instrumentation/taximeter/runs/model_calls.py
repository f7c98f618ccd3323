"""What every model SDK's hook does: check the limits, number the call, account for its usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span

from taximeter import lifecycle, semconv
from taximeter.guard import guarded
from taximeter.runs.call_cost import Terms, bound_pico, cost_pico, region_of
from taximeter.runs.current import Request, counts_here, current_agent, current_levels
from taximeter.runs.estimates import ask_of
from taximeter.runs.levels import Amount, Level
from taximeter.runs.limits import NO_LIMITS
from taximeter.runs.reservations import Owners, Reservation
from taximeter.runs.side_work import is_side_work

if TYPE_CHECKING:
    from taximeter.usage import Usage


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
    levels = current_levels()
    if all(level.limits is NO_LIMITS for level in levels):
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
        if is_decision and not is_again and counts_here(levels, at):
            with level.lock:
                level.iterations += 1
        if isinstance(level, Request):
            with level.lock:
                level.model_calls += 1
                level.own_decisions += is_decision and run is None and not is_again
                length = run.iterations if run is not None else level.own_decisions
                level.loop_length = max(level.loop_length, length)
    if is_decision and levels:
        with levels[0].lock:
            levels[0].order.next_turn()
        if run is not None:
            span.set_attribute(semconv.ITERATION, run.iterations)


@guarded(default=None)
def after_model_call(span: Span, owners: Owners, *, failed: bool) -> None:
    """See a call's span end: what it held is free, and a failed one may be made again."""
    if owners.reservation is not None:
        owners.reservation.release(has_answered=not failed)
    innermost = owners.run or owners.request
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
    *,
    provider: str,
    model: str | None,
    tier: str | None = None,
    batch: bool = False,
    server_address: str | None = None,
    owners: tuple[Any, ...] | None = None,
) -> None:
    """Stamp the provider's usage object on the span; add tokens and cost to run and request.

    ``owners`` is an `Owners` or its (run, request) alone.
    """
    raw = plain(usage)
    if not isinstance(raw, Mapping):
        return
    found = Owners(*owners) if owners else Owners.current()
    agent_name = found.run.name if found.run else None
    terms = Terms(provider, model, tier, batch, None, server_address, agent_name)
    partition, terms = stamp_usage(span, raw, shape, terms)
    cost = cost_pico(span, partition, raw, terms)
    bound = bound_pico(partition, terms) if cost is None and found.has_cost_limit() else 0
    prompt = partition.prompt_tokens or 0
    answer = (partition.total_tokens or prompt) - prompt
    for level in found.levels():
        used = Amount(prompt, answer, cost or 0)
        level.note_usage(used, is_priced=cost is not None, bound_pico=bound)
    if found.reservation is not None:
        found.reservation.settled()
    if found.request is not None:
        span.set_attribute(semconv.COST_SO_FAR, found.request.cost_usd)


def stamp_usage(
    span: Span, raw: Mapping[str, Any], shape: str, terms: Terms
) -> tuple[Usage, Terms]:
    """Stamp the usage object and what it says of the terms; return its tokens and those terms."""
    from taximeter.usage import normalise_usage

    tier, batch = terms.tier, terms.batch
    if raw.get("speed") == "fast":
        tier = "fast"
    tier = tier or _text(raw.get("service_tier"))
    if tier:
        span.set_attribute(semconv.SERVICE_TIER, tier)
    if batch:
        span.set_attribute(semconv.BATCH, True)
    region = region_of(raw.get("inference_geo"))
    if region:
        span.set_attribute(semconv.REGION_CLASS, region)
    span.set_attribute(semconv.USAGE, json.dumps(raw, separators=(",", ":"), default=str))
    span.set_attribute(semconv.USAGE_SHAPE, shape)
    partition = normalise_usage(shape, raw)
    _stamp_tokens(span, partition)
    return partition, replace(terms, tier=tier, region=region)


def _stamp_tokens(span: Span, usage: Usage) -> None:
    """Say the tokens as every backend reads them, where the SDK's own span does not."""
    if semconv.OUTPUT_TOKENS in (getattr(span, "attributes", None) or {}):
        return
    writes = (usage.cache_write_short or 0) + (usage.cache_write_long or 0)
    values = {
        semconv.INPUT_TOKENS: usage.prompt_tokens,
        semconv.OUTPUT_TOKENS: usage.output,
        semconv.CACHE_READ_TOKENS: usage.cache_read if usage.cache_reported else None,
        semconv.CACHE_WRITE_TOKENS: writes if usage.cache_reported else None,
        semconv.REASONING_TOKENS: usage.reasoning,
    }
    for key, value in values.items():
        if value is not None:
            span.set_attribute(key, value)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def plain(value: Any) -> Any:
    """Return an SDK's object as JSON-like data."""
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json", exclude_none=True, warnings=False)
    return value
