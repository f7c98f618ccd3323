"""Attributes that skip the SDK's look at each value end up as they would by its own way."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, SpanLimits, SpanProcessor, TracerProvider, sampling
from opentelemetry.trace import INVALID_SPAN

from taximeter.span_attributes import put
from taximeter.tracing import OurProvider, OwnTracer


class Looks(SpanProcessor):
    """Notes what a span says as it starts."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def on_start(self, span: Span, parent_context: Any = None) -> None:
        self.seen.append(dict(span.attributes or {}))


class Otherwise:
    """Where another SDK may keep attributes."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}

    def _set_items(self, attributes: dict[str, Any]) -> None:
        self.given |= attributes


class Asks(sampling.Sampler):
    """A sampler of the application's that asks for attributes."""

    def should_sample(self, *asked: Any, **more: Any) -> sampling.SamplingResult:
        attributes = asked[4]
        is_kept = (attributes or {}).get("user.id") == "u-1"
        decision = sampling.Decision.RECORD_AND_SAMPLE if is_kept else sampling.Decision.DROP
        return sampling.SamplingResult(decision, attributes)

    def get_description(self) -> str:
        return "asks"


@pytest.mark.parametrize(
    "limits",
    [SpanLimits(), SpanLimits(max_span_attribute_length=3), SpanLimits(max_span_attributes=2)],
    ids=["no limits", "texts are cut", "few attributes"],
)
def test_what_is_put_is_what_the_sdk_would_keep(limits: SpanLimits) -> None:
    tracer = TracerProvider(span_limits=limits).get_tracer("t")
    ours, theirs = tracer.start_span("ours"), tracer.start_span("theirs")
    given: list[dict[str, Any]] = [
        {"text": "hello", "count": 3, "is_on": True},
        {"reasons": ("stop",), "text": "good-bye"},
        {"tags": ["a", "b"], "id": UUID(int=1), "raw": b"x"},
    ]
    for attributes in given:
        put(ours, attributes)
        theirs.set_attributes(attributes)
    assert isinstance(ours, Span) and isinstance(theirs, Span)
    assert dict(ours.attributes or {}) == dict(theirs.attributes or {})


def test_an_sdk_that_keeps_attributes_otherwise_is_given_them_by_its_own_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    span = TracerProvider().get_tracer("t").start_span("work")
    assert isinstance(span, Span)
    monkeypatch.setattr(span, "_attributes", kept := Otherwise())
    put(span, {"a": 2})
    assert kept.given == {"a": 2}


def test_nothing_is_put_on_a_span_that_has_ended_or_records_nothing() -> None:
    span = TracerProvider().get_tracer("t").start_span("work")
    span.end()
    put(span, {"late": True})
    put(INVALID_SPAN, {"nowhere": True})
    assert isinstance(span, Span) and not span.attributes


def test_a_processor_that_the_application_adds_sees_what_a_span_starts_with() -> None:
    provider, looks = OurProvider(Resource.create({})), Looks()
    tracer = OwnTracer(provider.get_tracer("t"), provider)
    provider.add_span_processor(looks)
    tracer.start_span("work", attributes={"user.id": "u-1"}).end()
    assert looks.seen == [{"user.id": "u-1"}]


def test_a_sampler_that_the_environment_names_is_asked_with_attributes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling, "_get_from_env_or_default", Asks)
    provider = OurProvider(Resource.create({}))
    tracer = OwnTracer(provider.get_tracer("t"), provider)
    kept = [
        tracer.start_span("work", attributes={"user.id": user}).is_recording()
        for user in ("u-1", "u-2")
    ]
    assert kept == [True, False]
