"""A real collector with stored calls, and the providers' exports written from the same truth."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.patience import wait_until
from tests.serving import collecting

from taximeter_collector.client import ReadClient
from taximeter_collector.store.store import Store

DAY = datetime(2026, 11, 20, tzinfo=UTC)
PRICES = {
    # pico-USD a token, from the providers' price pages: input, read, short and long write, output.
    "claude-opus-5-5": (4_000_000, 200_000, 5_000_000, 8_000_000, 20_000_000),
    "claude-haiku-4-5-20251001": (1_000_000, 100_000, 1_250_000, 2_000_000, 5_000_000),
    "gpt-5-2025-08-07": (1_250_000, 125_000, 1_250_000, 1_250_000, 10_000_000),
}
SHAPES = {"anthropic": "anthropic", "openai": "openai_responses"}


@dataclass(frozen=True)
class Truth:
    """One call as it was: disjoint tokens, and how the two sides saw it."""

    model: str
    at: timedelta
    tokens: tuple[int, int, int, int, int]
    """input, read, short write, long write, output"""
    lasts: timedelta = timedelta(seconds=5)
    batch: bool = False
    is_stored: bool = True
    is_exported: bool = True
    stored_tokens: tuple[int, int, int, int, int] | None = None
    """What we stored, where it is not the truth."""
    has_usage: bool = True
    factor: int = 100
    """Percent of the list price that the provider took."""
    by_end: bool = False
    """The provider books it when it ended."""

    @property
    def provider(self) -> str:
        return "anthropic" if self.model.startswith("claude") else "openai"

    @property
    def start(self) -> datetime:
        return DAY + self.at

    @property
    def booked(self) -> datetime:
        return self.start + self.lasts if self.by_end else self.start

    def costs(self) -> tuple[int, ...]:
        """List cost by kind of token in pico-USD; batch is half."""
        pairs = zip(self.tokens, PRICES[self.model], strict=True)
        return tuple(count * price // (2 if self.batch else 1) for count, price in pairs)


def span_bytes(calls: Iterable[Truth]) -> bytes:
    """The stored calls as the shim sends them; the span id is the call's number."""
    message = ExportTraceServiceRequest()
    scope = message.resource_spans.add().scope_spans.add()
    scope.scope.name = "taximeter"
    for number, call in enumerate(calls, 1):
        if not call.is_stored:
            continue
        start = int(call.start.timestamp()) * 10**9
        span = scope.spans.add(
            trace_id=number.to_bytes(16, "big"),
            span_id=number.to_bytes(8, "big"),
            name=f"chat {call.model}",
            start_time_unix_nano=start,
            end_time_unix_nano=start + int(call.lasts.total_seconds()) * 10**9,
        )
        for key, value in attributes(call).items():
            span.attributes.add(key=key).value.string_value = value
    return message.SerializeToString()


def attributes(call: Truth) -> dict[str, str]:
    said = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": call.provider,
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": call.model,
        "taximeter.batch": "true" if call.batch else "false",
    }
    if not call.has_usage:
        return said
    plain, read, short, long, output = call.stored_tokens or call.tokens
    usage: dict[str, Any]
    if call.provider == "anthropic":
        usage = {
            "input_tokens": plain,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": short + long,
            "cache_creation": {
                "ephemeral_5m_input_tokens": short,
                "ephemeral_1h_input_tokens": long,
            },
            "output_tokens": output,
        }
    else:
        usage = {
            "input_tokens": plain + read,
            "input_tokens_details": {"cached_tokens": read},
            "output_tokens": output,
        }
    shape = {"taximeter.usage": json.dumps(usage), "taximeter.usage_shape": SHAPES[call.provider]}
    return said | shape


@dataclass
class Group:
    """What a provider adds up for a day, model and tier."""

    tokens: list[int] = field(default_factory=lambda: [0] * 5)
    costs: list[int] = field(default_factory=lambda: [0] * 5)
    requests: int = 0


def grouped(calls: Iterable[Truth], provider: str) -> dict[tuple[datetime, str, bool], Group]:
    groups: dict[tuple[datetime, str, bool], Group] = {}
    for call in calls:
        if call.provider != provider or not call.is_exported:
            continue
        day = call.booked.replace(hour=0, minute=0, second=0)
        group = groups.setdefault((day, call.model, call.batch), Group())
        group.requests += 1
        for index, (count, cost) in enumerate(zip(call.tokens, call.costs(), strict=True)):
            group.tokens[index] += count
            group.costs[index] += cost * call.factor // 100
    return groups


def buckets(
    results: Iterable[tuple[datetime, dict[str, Any]]], days: int, *, unix: bool
) -> list[dict[str, Any]]:
    found = []
    results = list(results)
    for number in range(days):
        start = DAY + timedelta(days=number)
        end = start + timedelta(days=1)
        names = ("start_time", "end_time") if unix else ("starting_at", "ending_at")
        times = (
            (int(start.timestamp()), int(end.timestamp()))
            if unix
            else (f"{start:%Y-%m-%dT%H:%M:%SZ}", f"{end:%Y-%m-%dT%H:%M:%SZ}")
        )
        inside = [result for day, result in results if day == start]
        found.append(dict(zip(names, times, strict=True)) | {"results": inside})
    return found


def anthropic_usage(calls: list[Truth], days: int) -> dict[str, Any]:
    """A page of /v1/organizations/usage_report/messages."""

    def result(model: str, batch: bool, group: Group) -> dict[str, Any]:
        plain, read, short, long, output = group.tokens
        return {
            "uncached_input_tokens": plain,
            "cache_creation": {
                "ephemeral_1h_input_tokens": long,
                "ephemeral_5m_input_tokens": short,
            },
            "cache_read_input_tokens": read,
            "output_tokens": output,
            "server_tool_use": {"web_search_requests": 0},
            "model": model,
            "service_tier": "batch" if batch else "standard",
            "context_window": "0-200k",
            "api_key_id": None,
            "workspace_id": None,
            "inference_geo": None,
        }

    rows = [(d, result(m, b, g)) for (d, m, b), g in grouped(calls, "anthropic").items()]
    return {"data": buckets(rows, days, unix=False), "has_more": False, "next_page": None}


def anthropic_cost(calls: list[Truth], days: int) -> dict[str, Any]:
    """A page of /v1/organizations/cost_report, grouped by description."""
    kinds = (
        "uncached_input_tokens", "cache_read_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens", "cache_creation.ephemeral_1h_input_tokens",
        "output_tokens",
    )  # fmt: skip
    rows = []
    for (day, model, batch), group in grouped(calls, "anthropic").items():
        for kind, cost in zip(kinds, group.costs, strict=True):
            result = {
                "amount": f"{cost // 10**10}.{cost % 10**10:010}",
                "currency": "USD",
                "cost_type": "tokens",
                "description": f"{model} Usage - {kind}",
                "model": model,
                "token_type": kind,
                "service_tier": "batch" if batch else "standard",
                "context_window": "0-200k",
                "workspace_id": None,
            }
            rows.append((day, result))
    return {"data": buckets(rows, days, unix=False), "has_more": False, "next_page": None}


def openai_usage(calls: list[Truth], days: int) -> dict[str, Any]:
    """A page of /v1/organization/usage/completions, grouped by model, batch, service tier."""

    def result(model: str, batch: bool, group: Group) -> dict[str, Any]:
        plain, read, _, _, output = group.tokens
        return {
            "object": "organization.usage.completions.result",
            "input_tokens": plain + read,
            "output_tokens": output,
            "input_cached_tokens": read,
            "input_audio_tokens": 0,
            "output_audio_tokens": 0,
            "num_model_requests": group.requests,
            "project_id": None,
            "model": model,
            "batch": batch,
            "service_tier": "default",
        }

    rows = [(d, result(m, b, g)) for (d, m, b), g in grouped(calls, "openai").items()]
    return {"object": "page", "data": buckets(rows, days, unix=True), "has_more": False}


def openai_cost(calls: list[Truth], days: int) -> dict[str, Any]:
    """A page of /v1/organization/costs, grouped by line item."""
    rows = []
    for (day, model, batch), group in grouped(calls, "openai").items():
        for kind, index in (("input", 0), ("cached input", 1), ("output", 4)):
            result = {
                "object": "organization.costs.result",
                "amount": {"value": Raw(group.costs[index]), "currency": "usd"},
                "line_item": f"{'batch | ' if batch else ''}{model}, {kind}",
                "project_id": None,
            }
            rows.append((day, result))
    return {"object": "page", "data": buckets(rows, days, unix=True), "has_more": False}


class Raw(float):
    """Pico-USD that JSON writes as exact USD."""

    def __new__(cls, pico: int) -> Self:
        made = super().__new__(cls, pico / 1e12)
        made.pico = pico  # type: ignore[attr-defined]
        return made

    def __repr__(self) -> str:
        pico: int = self.pico  # type: ignore[attr-defined]
        return f"{pico // 10**12}.{pico % 10**12:012}"


def as_text(page: Any) -> str:
    """JSON in which amounts keep all their digits."""
    marked = json.dumps(page, default=str)
    if "organization.costs.result" not in marked:
        return marked
    copy = json.loads(marked)
    texts = []
    for bucket, made in zip(page["data"], copy["data"], strict=True):
        for result, written in zip(bucket["results"], made["results"], strict=True):
            texts.append(repr(result["amount"]["value"]))
            written["amount"]["value"] = f"@@{len(texts) - 1}@@"
    text = json.dumps(copy)
    for number, exact in enumerate(texts):
        text = text.replace(f'"@@{number}@@"', exact)
    return text


@dataclass
class Collector:
    """A running collector."""

    url: str
    number: int = 0

    def store(self, calls: list[Truth]) -> None:
        """Send the stored ones and wait until they are derived."""
        expected = sum(call.is_stored for call in calls)
        request = urllib.request.Request(
            f"{self.url}/v1/traces",
            span_bytes(calls),
            {"Content-Type": "application/x-protobuf"},
        )
        urllib.request.urlopen(request, timeout=30).read()
        with ReadClient(self.url) as client:
            wait_until(lambda: client.query("from calls").num_rows == expected, "the derived calls")


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    with collecting(store) as running:
        yield Collector(running.url)


__all__ = ["DAY", "Collector", "Truth", "replace"]
