"""What every model SDK's hook does: check the limits, number the call, account for its usage."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import Span

from taximeter import semconv
from taximeter.call_cost import Terms, cost_pico
from taximeter.guard import guarded
from taximeter.runs import AgentRun, Request, current_agent, current_request

if TYPE_CHECKING:
    from taximeter.usage import Usage


_NO_REGION: Final = ("global", "not_available")
"""What Anthropic says where a call was not pinned to a region."""


def before_model_call() -> None:
    """Raise LimitReached where a limit of the run or of one above it does not allow the call."""
    run = current_agent.get()
    for level in run.lineage() if run else ():
        if level is run:
            level.check_model_call()
        else:
            level.check_budgets()


@guarded(default=None)
def count_model_call(span: Span, *, is_decision: bool = True) -> None:
    """Number a call that has started: the run's iteration, the request's loop."""
    run, request = current_agent.get(), current_request.get()
    if run is not None and is_decision:
        with run.lock:
            run.iterations += 1
        span.set_attribute(semconv.ITERATION, run.iterations)
    if request is not None:
        with request.lock:
            request.model_calls += 1
            request.own_calls += is_decision
            length = run.iterations if run else request.own_calls
            request.loop_length = max(request.loop_length, length)


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
    owners: tuple[AgentRun | None, Request | None] | None = None,
) -> None:
    """Stamp the provider's usage object on the span; add tokens and cost to run and request."""
    raw = plain(usage)
    if not isinstance(raw, Mapping):
        return
    run, request = owners or (current_agent.get(), current_request.get())
    terms = Terms(provider, model, tier, batch, None, server_address, run.name if run else None)
    partition, terms = stamp_usage(span, raw, shape, terms)
    cost = cost_pico(span, partition, raw, terms)
    for level in run.lineage() if run else ():
        level.note_usage(partition.total_tokens, cost)
    if request is not None:
        with request.lock:
            request.cost_pico += cost or 0
            request.unpriced_calls += cost is None
        span.set_attribute(semconv.COST_SO_FAR, request.cost_usd)


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
    geo = _text(raw.get("inference_geo"))
    region = f"geo:{geo}" if geo and geo not in _NO_REGION else None
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
