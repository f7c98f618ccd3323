"""Whose a call is before it is made, and whose the store says it was: a budget must mean the same calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.instrumentation.models import ASK, CLAUDE, GPT
from tests.patience import wait_until
from tests.serving import Collector, collecting

import taximeter
from taximeter import Privacy, lifecycle
from taximeter.budgets.fleet import Fleet
from taximeter.budgets.stops import DIMENSIONS
from taximeter.budgets.whose import Whose
from taximeter.runs.call_cost import Terms
from taximeter.runs.levels import Level
from taximeter.testing import FakeModel
from taximeter_collector.client import ReadClient
from taximeter_collector.store.store import Store

KEY = "a secret of 16 characters or more"
Values = dict[str, str | None]


class Noting(Fleet):
    """Stops nobody, and keeps whose each call is."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Values] = []

    def check(
        self, levels: Sequence[Level], terms: Terms | None, resource: Mapping[str, Any]
    ) -> None:
        """Note all that a budget can ask."""
        whose = Whose(levels, terms, resource, KEY, self._answered)
        self.calls.append({name: whose(name) for name in DIMENSIONS})


@pytest.fixture
def collector(store: Store) -> Iterator[Collector]:
    with collecting(store) as running:
        yield running


@pytest.fixture
def noting(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Iterator[Noting]:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=7,service.namespace=shop")
    taximeter.shutdown()
    privacy = Privacy(user_key=KEY)
    taximeter.init(service="desk", environment="prod", endpoint=collector.url, privacy=privacy)
    meter = lifecycle.meter()
    assert meter is not None
    meter.fleet = noting = Noting()
    yield noting
    taximeter.shutdown()


def claude() -> None:
    FakeModel().anthropic().messages.create(model=CLAUDE, max_tokens=9, messages=ASK)


def gpt() -> None:
    FakeModel().openai().chat.completions.create(model=GPT, messages=ASK)


def embed() -> None:
    FakeModel().openai().embeddings.create(model="text-embedding-3-small", input="x")


def work() -> None:
    """Make calls in every kind of place."""
    plain = taximeter.agent("plain")(claude)
    dated = taximeter.agent("dated", version="2026-11")(gpt)

    @taximeter.agent("lead", version="1")
    def lead() -> None:
        claude()
        plain()
        with taximeter.request("inside", user="u-2"):
            embed()
            dated()

    plain()
    with taximeter.request(tenant="acme", user="u-1"):
        lead()
        claude()
        with taximeter.request("inner", tenant="other"):
            gpt()
            with taximeter.request("innermost"):
                gpt()
            plain()
    with taximeter.request(user="u-3"):
        claude()
    with taximeter.request():
        plain()
        gpt()


def test_it_is_the_same_for_every_call(noting: Noting, collector: Collector) -> None:
    work()
    assert taximeter.flush(30)
    columns = ", ".join(DIMENSIONS)
    sql = f"select {columns} from calls order by start_time, trace_id, span_id"
    with ReadClient(collector.url) as client:
        wait_until(lambda: len(client.query(sql)) == len(noting.calls))
        stored = client.query(sql).to_pylist()
    assert len(stored) == 12
    assert noting.calls == stored
