"""What calls under way may use is held before they start: by how much a budget can be passed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx2
import openai
import pytest
from tests.instrumentation.models import ASK, CLAUDE, GPT

import taximeter
from taximeter.guard import faults
from taximeter.runs.current import current_agent
from taximeter.runs.limits import LimitReached, Limits, Used
from taximeter.testing import Answer, FakeModel, SpanList

CALLS = 50
OUTPUT, OUTPUT_USD = 1_000, 0.015
"""Of one call at the most: max_tokens, and what they cost of GPT 5.4 at $15 a million."""
PROMPT_USD = 0.00025
BUDGETS = {
    "cost_usd": Limits(cost_usd=0.1),
    "tokens": Limits(tokens=6_000),
    "output_tokens": Limits(output_tokens=5_500),
}

Spend = Callable[[FakeModel, Limits, Any], tuple[int, Used]]


def in_threads(model: FakeModel, limits: Limits, asked: Any) -> tuple[int, Used]:
    """Make the calls at once; return how many were made, and what the run has used."""
    client = model.openai()

    @taximeter.agent("crowd", limits=limits)
    def crowd() -> tuple[int, Used]:
        def ask(_: int) -> bool:
            try:
                client.chat.completions.create(model=GPT, messages=ASK, **asked)
            except LimitReached:
                return False
            return True

        with ThreadPoolExecutor(CALLS) as pool:
            made = sum(pool.map(ask, range(CALLS)))
        return made, used_now()

    return crowd()


def in_tasks(model: FakeModel, limits: Limits, asked: Any) -> tuple[int, Used]:
    """The same on one event loop."""

    @taximeter.agent("crowd", limits=limits)
    async def crowd() -> tuple[int, Used]:
        client = model.async_openai()

        async def ask() -> bool:
            try:
                await client.chat.completions.create(model=GPT, messages=ASK, **asked)
            except LimitReached:
                return False
            return True

        made = sum(await asyncio.gather(*(ask() for _ in range(CALLS))))
        return made, used_now()

    return asyncio.run(crowd())


def used_now() -> Used:
    run = current_agent.get()
    assert run is not None
    assert (run.held.tokens, run.held.pico, run.in_flight) == (0, 0, 0), "all is given back"
    return run.used()


WAYS = pytest.mark.parametrize("spend", [in_threads, in_tasks], ids=lambda way: way.__name__)


def worst(body: dict[str, Any]) -> Answer:
    """As long an answer as the request allows."""
    return Answer(input_tokens=4, output_tokens=body.get("max_completion_tokens", OUTPUT))


@WAYS
@pytest.mark.parametrize("name", BUDGETS)
def test_fifty_calls_at_once_never_pass_a_strict_budget(
    spans: SpanList, spend: Spend, name: str
) -> None:
    """Though each uses all that it may."""
    limits = replace(BUDGETS[name], overshoot="none")
    model = FakeModel(worst, delay_s=0.05)
    made, used = spend(model, limits, {"max_completion_tokens": OUTPUT})
    assert made == (6 if name == "cost_usd" else 5)
    assert getattr(used, name) <= getattr(limits, name)


@WAYS
@pytest.mark.parametrize("name", BUDGETS)
def test_by_default_fifty_calls_at_once_pass_a_budget_by_less_than_one_call(
    spans: SpanList, spend: Spend, name: str
) -> None:
    limits = BUDGETS[name]
    model = FakeModel(worst, delay_s=0.05)
    made, used = spend(model, limits, {"max_completion_tokens": OUTPUT})
    one_call = OUTPUT_USD + PROMPT_USD if name == "cost_usd" else OUTPUT + 100
    assert made >= 5
    assert getattr(used, name) < getattr(limits, name) + one_call


@WAYS
def test_a_budget_below_one_call_still_lets_one_through(spans: SpanList, spend: Spend) -> None:
    """A model's whole answer would be dearer than the budget: so are most small budgets."""
    model = FakeModel(lambda body: Answer(input_tokens=4, output_tokens=20), delay_s=0.05)
    made, used = spend(model, Limits(cost_usd=0.01), {"max_completion_tokens": 64_000})
    assert made >= model.most_in_flight == 1
    assert used.cost_usd < 0.01 + 20 * 15e-6 + PROMPT_USD


@WAYS
def test_in_flight_holds_nothing(spans: SpanList, spend: Spend) -> None:
    model = FakeModel(lambda body: Answer(input_tokens=4, output_tokens=20), delay_s=0.05)
    limits = Limits(cost_usd=0.02, overshoot="in_flight")
    made, _ = spend(model, limits, {"max_completion_tokens": 64_000})
    assert made == CALLS


@WAYS
def test_iterations_are_claimed_before_the_call(spans: SpanList, spend: Spend) -> None:
    made, used = spend(FakeModel(delay_s=0.05), Limits(iterations=7), {})
    assert (made, used.iterations) == (7, 7)


def test_a_call_without_a_limit_is_taken_for_a_long_answer_beside_others(spans: SpanList) -> None:
    """4,096 tokens at $15 a million are 6 cents."""
    model = FakeModel(lambda body: Answer(input_tokens=4, output_tokens=20), delay_s=0.1)
    in_tasks(model, Limits(cost_usd=0.2), {})
    assert model.most_in_flight == 3


def test_a_strict_budget_needs_a_limit_on_the_call(spans: SpanList) -> None:
    with pytest.raises(taximeter.CostBudgetReached, match="sets no limit to its answer"):
        run_once(FakeModel(), Limits(cost_usd=5, overshoot="none"), GPT)


def test_a_prompt_that_cannot_fit_is_refused(spans: SpanList) -> None:
    model = FakeModel()
    with pytest.raises(taximeter.TokenBudgetReached, match=r"12\d\d for the next one"):
        run_once(model, Limits(input_tokens=1_000), GPT, content="word " * 3_000)
    assert not model.bodies


@pytest.mark.parametrize(
    ("status", "left"), [(529, 0), (200, 40)], ids=["a failure", "an answer that tells nothing"]
)
def test_what_a_call_without_usage_takes(spans: SpanList, status: int, left: int) -> None:
    """A failure is not billed; an answer without usage has used all that it may."""
    model = FakeModel(lambda body: Answer(status=status, says_usage=False))

    @taximeter.agent("asker", limits=Limits(tokens=1_000))
    def ask() -> int:
        with suppress(openai.InternalServerError):
            model.openai().chat.completions.create(
                model=GPT, messages=ASK, max_completion_tokens=40
            )
        run = current_agent.get()
        assert run is not None and run.in_flight == run.held.tokens == 0
        return run.unsettled.output_tokens

    assert ask() == left


# A model without a price.


def test_a_model_without_a_price_counts_by_the_dearest_of_its_provider(spans: SpanList) -> None:
    """$150 and $600 a million: 100 tokens in and 10 out are 2.1 cents."""
    with pytest.raises(taximeter.CostBudgetReached) as reached:
        run_often(FakeModel(), Limits(cost_usd=0.05), "gpt-of-tomorrow")
    used = reached.value.used
    assert (used.iterations, used.cost_usd, used.unpriced_calls) == (3, 0.0, 3)
    assert used.unsettled_usd == pytest.approx(3 * 0.021)


def test_a_model_without_a_price_is_refused_where_the_limits_say_so(spans: SpanList) -> None:
    model = FakeModel()
    limits = Limits(cost_usd=5, unpriced="refuse")
    with pytest.raises(taximeter.CostBudgetReached, match="'gpt-of-tomorrow'.* has no price"):
        run_once(model, limits, "gpt-of-tomorrow")
    assert not model.bodies
    run_once(model, limits, GPT)
    assert len(model.bodies) == 1


def test_without_a_cost_limit_a_price_is_not_needed(spans: SpanList) -> None:
    model = FakeModel()
    run_once(model, Limits(tokens=5_000, unpriced="refuse"), "gpt-of-tomorrow")
    assert len(model.bodies) == 1


def test_embeddings_need_no_limit_on_their_answer(spans: SpanList) -> None:
    model = FakeModel(lambda body: Answer(status=500))

    @taximeter.agent("embedder", limits=Limits(cost_usd=1, overshoot="none", iterations=1))
    def embed() -> None:
        for _ in range(3):
            with pytest.raises(openai.InternalServerError):
                model.openai().embeddings.create(model="text-embedding-3-small", input="x")

    embed()
    assert len(model.bodies) == 3


def test_cached_prompts_are_reserved_by_what_writing_them_costs(spans: SpanList) -> None:
    system = [
        {"type": "text", "text": "x" * 30_000, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    ]
    model = FakeModel()

    @taximeter.agent("cacher", limits=Limits(cost_usd=0.045, overshoot="none"))
    def ask(system: Any) -> None:
        model.anthropic().messages.create(model=CLAUDE, max_tokens=10, messages=ASK, system=system)

    with pytest.raises(taximeter.CostBudgetReached):
        ask(system)  # up to 15,000 tokens at $4 a million, else at $2
    del system[0]["cache_control"]
    ask(system)


def run_once(model: FakeModel, limits: Limits, name: str, content: str = "hi") -> None:
    @taximeter.agent("asker", limits=limits)
    def ask() -> None:
        client, messages = model.openai(), [{"role": "user", "content": content}]
        client.chat.completions.create(model=name, messages=messages)  # type: ignore[arg-type]

    ask()


def run_often(model: FakeModel, limits: Limits, name: str) -> None:
    client = model.openai()

    @taximeter.agent("asker", limits=limits)
    def ask() -> None:
        for _ in range(20):
            client.chat.completions.create(model=name, messages=ASK, max_completion_tokens=10)

    ask()


def test_an_answer_that_cannot_be_read_gives_its_place_back(
    spans: SpanList, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    odd = {"id": "c-1", "object": "chat.completion", "created": 1, "model": GPT, "choices": 5}
    transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=odd))
    client = openai.OpenAI(api_key="demo", http_client=httpx2.Client(transport=transport))
    with taximeter.request(limits=Limits(cost_usd=1.0)) as request:
        client.chat.completions.create(model=GPT, messages=ASK)
    assert (request.in_flight, request.held.pico) == (0, 0)
    assert len(spans.named(f"chat {GPT}")) == 1
