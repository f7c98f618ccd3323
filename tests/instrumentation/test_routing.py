"""The routing table: who is asked, when the next one is, and what the spans say."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from tests.telemetry import follow, receive, rows

import taximeter
from taximeter.demo.fake_api import FakeApi
from taximeter.demo.replies import Fault, Reply
from taximeter.routing import Model, Routes
from taximeter.testing import SpanList
from taximeter.tools.breaker import Breaker
from taximeter_collector.store.store import Store

TABLE = {"plan": ["claude-opus-5-5", "claude-sonnet-5-5"], "title": "claude-haiku-5-5"}


class Busy(Exception):
    """As an SDK's: a status that may pass."""

    status_code = 529


def test_the_first_model_that_can_serve_answers() -> None:
    asked: list[str] = []

    def ask(model: str) -> str:
        asked.append(model)
        if model == "claude-opus-5-5":
            raise Busy
        return model

    routes = Routes(TABLE)
    assert routes.call("title", ask) == "claude-haiku-5-5"
    assert routes.call("plan", ask) == "claude-sonnet-5-5"
    assert asked == ["claude-haiku-5-5", "claude-opus-5-5", "claude-sonnet-5-5"]


def test_an_error_that_lasts_is_not_routed_around() -> None:
    def ask(model: str) -> str:
        raise ValueError(model)

    with pytest.raises(ValueError, match="claude-opus-5-5"):
        Routes(TABLE).call("plan", ask)


def test_the_last_error_is_raised_and_then_the_open_circuits_end_the_run() -> None:
    async def ask(model: str) -> str:
        raise httpx.ConnectError(model)

    routes = Routes(TABLE, breaker=lambda: Breaker(1))
    with pytest.raises(httpx.ConnectError, match="claude-sonnet-5-5"):
        asyncio.run(routes.call_async("plan", ask))
    with pytest.raises(taximeter.CircuitOpened, match="'plan'"):
        asyncio.run(routes.call_async("plan", ask))


def test_models_without_a_price_are_passed_over_where_asked_for() -> None:
    table: Any = {"plan": ["claude-of-tomorrow", Model("gpt-5-mini", "openai")]}
    assert Routes(table).call("plan", str) == "claude-of-tomorrow"
    assert Routes(table, unpriced="skip").call("plan", str) == "gpt-5-mini"


@pytest.mark.parametrize(
    ("table", "settings", "message"),
    [
        ({"plan": []}, {}, "no model"),
        ({"plan": "claude-of-tomorrow"}, {"unpriced": "skip"}, "has a price"),
    ],
    ids=["no model", "no price"],
)
def test_a_table_that_can_not_work_is_refused_at_once(
    table: Any, settings: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Routes(table, **settings)


def test_an_unknown_role_names_the_known_ones() -> None:
    with pytest.raises(KeyError, match="plan, title"):
        Routes(TABLE).call("plna", str)


def test_the_effect_of_fallbacks_is_measured_by_sql(
    spans: SpanList, store: Store, api: FakeApi
) -> None:
    client = anthropic.Anthropic(base_url=api.anthropic_url, api_key="demo", max_retries=0)
    api.say(Reply(faults=(Fault(status=529),)), Reply(text="a plan"), Reply(text="a title"))
    routes = Routes(TABLE)

    def ask(model: str) -> anthropic.types.Message:
        return client.messages.create(
            model=model, max_tokens=50, messages=[{"role": "user", "content": "go"}]
        )

    with taximeter.request():
        routes.call("plan", ask)
        routes.call("title", ask)
    receive(store, [("traces", encode_spans(spans.spans).SerializeToString())])
    follow(store)
    found = rows(
        store,
        """
        select s.attributes['taximeter.route.role'] as role,
            s.attributes['taximeter.route.position']::int as position,
            s.attributes['taximeter.route.fallback_reason'] as reason, c.model, c.status,
            c.cost_usd > 0 as is_priced
        from calls c join spans s using (trace_id, span_id) order by c.start_time
        """,
    )
    assert found[0][:5] == ("plan", 1, None, "claude-opus-5-5", "error")
    assert found[1:] == [
        ("plan", 2, "OverloadedError", "claude-sonnet-5-5", "ok", True),
        ("title", 1, None, "claude-haiku-5-5", "ok", True),
    ]
