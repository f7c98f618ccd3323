"""A budget of the whole fleet ends the runs whose calls are of it, and no others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from tests.instrumentation.models import ASK, CLAUDE

import taximeter
from taximeter import Limits, lifecycle
from taximeter.budgets.fleet import Fleet, Kept
from taximeter.budgets.stops import read_stops
from taximeter.privacy import hashed
from taximeter.testing import FakeModel, SpanList, exhausted_budget

model = FakeModel()
client = model.anthropic()


def call(**changed: Any) -> Any:
    return client.messages.create(**{"model": CLAUDE, "max_tokens": 9, "messages": ASK, **changed})


def stop(labels: dict[str, Any] | None = None, **where: list[str]) -> dict[str, Any]:
    return {
        "budget": "b", "where": where, "labels": labels or {}, "amount_usd": 5.0, "used_usd": 5.5,
        "period": "day", "period_end": "midnight", "ends_after_s": 1_000.0,
    }  # fmt: skip


@contextmanager
def fleet(
    *stops: dict[str, Any], age_s: float = 70.0, stale_after_s: float = 435.0, user_key: str | None = None
) -> Iterator[Fleet]:  # fmt: skip
    """Let this process know these budgets, as of so long ago."""
    meter = lifecycle.meter()
    assert meter is not None
    said = {"stale_after_s": stale_after_s, "stops": list(stops)}
    true_at = time.monotonic() - age_s
    kept = Kept(read_stops(json.dumps(said).encode()), since=true_at, true_at=true_at)
    known = meter.fleet = Fleet(kept, user_key=user_key)
    yield known
    meter.fleet = None


def is_stopped(work: Callable[[], object] = call) -> bool:
    try:
        work()
    except taximeter.CostBudgetReached as reached:
        assert (reached.level, reached.name, reached.agent, reached.limit) == (
            "budget", "cost_usd", "b", 5.0,
        )  # fmt: skip
        return True
    return False


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (stop(), True),
        (stop({"tenant": "acme"}), True),
        (stop({"tenant": "other"}), False),
        (stop({"tenant": None}), False),
        (stop(tenant=["x", "acme"]), True),
        (stop(tenant=["x"]), False),
        (stop({"user_id": "u"}), True),
        (stop({"user_id": "U"}), False),
        (stop({"agent_name": "web"}), True),
        (stop({"agent_name": "lead"}), False),  # its sub-agent's calls are not of its budget
        (stop({"agent_version": "2"}), True),
        (stop({"service_name": "tests"}), True),
        (stop({"service_name": "other"}), False),
        (stop({"environment": None}), True),
        (stop({"environment": "prod"}), False),
        (stop({"model": CLAUDE}), True),
        (stop({"model": "claude-opus-5-5"}), False),
        (stop({"provider": "anthropic", "tenant": "acme"}), True),
        (stop({"provider": "openai", "tenant": "acme"}), False),
        (stop({"tenant": "acme"}, agent_name=["web"], model=[CLAUDE]), True),
        (stop({"tenant": "acme"}, agent_name=["web"], model=["x"]), False),
    ],
    ids=lambda value: json.dumps({**value["labels"], **value["where"]}) if isinstance(value, dict) else "",
)  # fmt: skip
def test_a_call_is_stopped_by_the_budgets_that_it_is_of(
    spans: SpanList, budget: dict[str, Any], expected: bool
) -> None:
    @taximeter.agent("web", version="2")
    def web() -> None:
        call()

    lead = taximeter.agent("lead")(web)
    with fleet(budget), taximeter.request(tenant="acme", user="u"):
        assert is_stopped(lead) is expected


def test_what_no_request_says_is_unknown(spans: SpanList) -> None:
    with fleet(stop({"tenant": None})), taximeter.request():
        assert is_stopped()
    with fleet(stop({"tenant": "acme"})), taximeter.request():
        assert not is_stopped()


def test_a_call_outside_any_agent_is_the_first_agents_or_the_services_as_in_the_store(
    spans: SpanList,
) -> None:
    idle = taximeter.agent("first")(lambda: None)
    with fleet(stop({"agent_name": "tests"})), taximeter.request():
        assert is_stopped()
        idle()
        assert not is_stopped()
    with fleet(stop({"agent_name": "first"})), taximeter.request():
        assert not is_stopped()
        with taximeter.request("inner"):
            idle()
        assert is_stopped()


def test_a_request_inside_a_request_has_its_own_tenant_or_the_outermost(spans: SpanList) -> None:
    with fleet(stop({"tenant": "acme"})), taximeter.request(tenant="acme"):
        with taximeter.request(tenant="other"):
            assert not is_stopped()
            with taximeter.request():
                assert is_stopped()
        assert is_stopped()


def test_a_call_outside_any_run_is_not_stopped_as_by_no_limit(spans: SpanList) -> None:
    with fleet(stop()):
        assert not is_stopped()


def test_the_run_ends_as_at_a_limit_of_its_own(spans: SpanList) -> None:
    @taximeter.agent("web", limits=Limits(on_limit="partial"))
    def web() -> str:
        taximeter.partial("a draft")
        call()
        raise AssertionError

    before = len(model.bodies)
    with fleet(stop({"agent_name": "web"})), taximeter.request() as request:
        taximeter.agent("other")(call)()
        assert web() == "a draft"
    assert request.reached_limit is None
    said = spans.named("invoke_agent web")[0].attributes or {}
    assert said["taximeter.termination_reason"] == "cost_budget"
    assert said["taximeter.limit_reached"] == "budget.cost_usd"
    assert said["taximeter.termination_detail"] == (
        "budget 'b' reached its limit (cost_budget: 5: $5.50 of $5.00 per day used by all"
        " processes, until midnight)"
    )
    assert len(model.bodies) == before + 1


def test_a_request_without_an_agent_ends_with_what_it_has(spans: SpanList) -> None:
    with (
        fleet(stop()),
        taximeter.request(limits=Limits(on_limit=lambda reached: reached.reason)) as request,
    ):
        call()
    assert request.result == "cost_budget"


def test_calls_in_threads_and_tasks_are_their_requests(spans: SpanList) -> None:
    found: list[bool] = []
    asynchronous = FakeModel().async_anthropic()

    def note() -> None:
        found.append(is_stopped())

    async def ask() -> None:
        await asynchronous.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)

    async def two() -> list[bool]:
        ends = await asyncio.gather(ask(), ask(), return_exceptions=True)
        return [isinstance(end, taximeter.CostBudgetReached) for end in ends]

    with fleet(stop({"tenant": "acme"})):
        for tenant in ("acme", "other"):
            with taximeter.request(tenant=tenant):
                thread = threading.Thread(target=note)
                thread.start()
                thread.join()
                found.extend(asyncio.run(two()))
    assert found == [True] * 3 + [False] * 3


@pytest.mark.parametrize("sdk", ["openai", "embeddings"])
def test_openais_calls_are_stopped_too(spans: SpanList, sdk: str) -> None:
    gpt = FakeModel().openai()
    with (
        fleet(stop({"provider": "openai"})),
        taximeter.request(),
        pytest.raises(taximeter.CostBudgetReached),
    ):
        if sdk == "openai":
            gpt.chat.completions.create(model="gpt-5.4", messages=ASK)
        else:
            gpt.embeddings.create(model="text-embedding-3-small", input="x")


def test_a_stale_answer_stops_nobody_and_is_said_once(
    spans: SpanList, caplog: pytest.LogCaptureFixture
) -> None:
    with fleet(stop(), age_s=436.0) as known, taximeter.request():
        call()
        call()
    assert known.failed == {"stale": 2}
    assert caplog.text.count("budgets of the fleet stop no calls here") == 1


def test_the_end_of_the_period_frees_at_once(spans: SpanList) -> None:
    """The answer of before is still kept then."""
    with fleet({**stop(), "ends_after_s": 70.2}), taximeter.request():
        assert is_stopped()
        time.sleep(0.25)
        assert not is_stopped()


def test_of_two_periods_the_one_that_goes_on_stops(spans: SpanList) -> None:
    over = {**stop(), "ends_after_s": 10.0}
    for stops in ((over, stop()), (stop(), over)):
        with fleet(*stops), taximeter.request():
            assert is_stopped()


DATED = {CLAUDE: f"{CLAUDE}-20260901", "gpt-5.4": "gpt-5.4-2026-03-05"}


def answered_by_the_dated_model(request: httpx2.Request) -> httpx2.Response:
    """Answer as the providers do: with the name of the version that an alias stands for now."""
    said: dict[str, Any]
    model = DATED[json.loads(request.content)["model"]]
    if request.url.path.endswith("/messages"):
        usage = {"input_tokens": 9, "output_tokens": 9}
        said = {"id": "m", "type": "message", "role": "assistant", "model": model, "content": [],
                "stop_reason": "end_turn", "usage": usage}  # fmt: skip
    else:
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        said = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [],
                "usage": usage}  # fmt: skip
    return httpx2.Response(200, json=said)


@pytest.mark.parametrize("asked", [CLAUDE, "gpt-5.4"])
def test_a_model_is_known_by_who_answered_to_the_name(spans: SpanList, asked: str) -> None:
    """The budget knows the dated name; a program asks for the alias."""
    http = httpx2.Client(transport=httpx2.MockTransport(answered_by_the_dated_model))
    claude = anthropic.Anthropic(api_key="fake", http_client=http)
    gpt = openai.OpenAI(api_key="fake", http_client=http)

    def ask() -> None:
        if asked == CLAUDE:
            claude.messages.create(model=asked, max_tokens=9, messages=ASK)
        else:
            gpt.chat.completions.create(model=asked, messages=ASK)

    with fleet(stop({"model": DATED[asked]})), taximeter.request():
        assert not is_stopped(ask)
        assert is_stopped(ask)


def test_a_user_is_compared_as_it_leaves(spans: SpanList) -> None:
    key = "a secret of 16 characters or more"
    known_as = hashed("u-17", key.encode())
    with fleet(stop({"user_id": known_as}), user_key=key), taximeter.request(user="u-17"):
        assert is_stopped()
    with fleet(stop({"user_id": "u-17"}), user_key=key), taximeter.request(user="u-17"):
        assert not is_stopped()


def test_your_tests_can_use_a_budget_up(spans: SpanList) -> None:
    with taximeter.request(tenant="acme"):
        with exhausted_budget("b", amount_usd=5, tenant="acme"):
            assert is_stopped()
        assert not is_stopped()
        with exhausted_budget("b", amount_usd=5, tenant="other"):
            assert not is_stopped()


def test_exhausted_budget_wants_the_shim_on() -> None:
    taximeter.shutdown()
    with pytest.raises(RuntimeError, match="call taximeter.init"), exhausted_budget():
        pass
