"""A price file of the user's that is wrong: said once in its own words, and no budget is passed for it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.instrumentation.models import CLAUDE

import taximeter
from taximeter.guard import faults
from taximeter.pricing import load_catalog
from taximeter.routing import Model, Routes, is_priced
from taximeter.runs import call_cost
from taximeter.runs.limits import Limits
from taximeter.testing import Answer, FakeModel, SpanList

HELLO: Any = [{"role": "user", "content": "hello"}]
WRONG = '[[price]]\nmodel = "m"\ninpt = "1.00"\n'
LOGGER = "taximeter"


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """Give the process a price file with a fault; the place of the fault."""
    file = tmp_path / "prices.toml"
    file.write_text(WRONG)
    monkeypatch.setenv("TAXIMETER_PRICES_FILE", str(file))
    caches = (call_cost.price_book, is_priced)
    for cache in caches:
        cache.cache_clear()
    yield f"{file}:3: unknown key 'inpt'; did you mean 'input'?"
    for cache in caches:
        cache.cache_clear()


def call(model: FakeModel, name: str = CLAUDE) -> None:
    model.anthropic().messages.create(model=name, max_tokens=100, messages=HELLO)


def test_the_log_says_once_what_is_wrong_where_and_what_budgets_do(
    spans: SpanList, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where threads make their first calls together, each of which reads the file."""
    before = dict(faults.by_place)

    @taximeter.agent("a", limits=Limits(cost_usd=1.0))
    def ask() -> None:
        call(FakeModel())

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(ask) for _ in range(4)]:
            done.result()
    with taximeter.request() as request:
        call(FakeModel())
    said = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert [wrong in line for line in said] == [True]
    assert "dearest shipped price" in said[0]
    assert "telemetry fault" not in said[0]
    assert faults.by_place == before
    assert (request.cost_usd, request.unpriced_calls) == (0.0, 1)


def test_a_budget_counts_calls_by_the_dearest_shipped_price(spans: SpanList, wrong: str) -> None:
    dear = load_catalog().dearest("anthropic", CLAUDE)
    dollars = (100 * dear.input_pico + 10 * dear.output_pico) / 1e12
    model = FakeModel(Answer(input_tokens=100, output_tokens=10))

    @taximeter.agent("spender", limits=Limits(cost_usd=dollars * 2.5, overshoot="in_flight"))
    def spend() -> None:
        for _ in range(9):
            call(model)

    with pytest.raises(taximeter.CostBudgetReached) as reached:
        spend()
    assert len(model.bodies) in (2, 3)
    assert reached.value.used.unsettled_usd == pytest.approx(dollars * len(model.bodies))
    assert reached.value.used.cost_usd == 0


def test_a_budget_of_tokens_holds_as_ever(spans: SpanList, wrong: str) -> None:
    @taximeter.agent("a", limits=Limits(tokens=50))
    def run() -> None:
        for _ in range(2):
            call(FakeModel())

    with taximeter.request() as request, pytest.raises(taximeter.TokenBudgetReached):
        run()
    assert request.unpriced_calls == 1


def test_a_run_that_refuses_unpriced_models_says_why_none_has_a_price(
    spans: SpanList, wrong: str
) -> None:
    model = FakeModel()

    @taximeter.agent("careful", limits=Limits(cost_usd=1.0, unpriced="refuse"))
    def run() -> None:
        call(model)

    with pytest.raises(taximeter.CostBudgetReached) as reached:
        run()
    assert wrong in reached.value.why
    assert model.bodies == []


def test_a_routing_table_of_priced_models_says_why_there_is_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="inpt"):
        Routes({"plan": [Model("claude-opus-5-5", "anthropic")]}, unpriced="skip")
