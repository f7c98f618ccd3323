"""The shim on, with spans in a list; a fake model API that the real SDKs talk to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.instrumentation.hosts import Sink

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.guard import faults
from taximeter.testing import SpanList


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[SpanList]:
    """The shim, started; faults of ours fail the test."""
    monkeypatch.setattr(faults, "reraise", True)
    taximeter.shutdown()
    exported = SpanList()
    taximeter.init(service="tests", span_exporter=exported)
    yield exported
    taximeter.shutdown()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as running:
        yield running


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()
