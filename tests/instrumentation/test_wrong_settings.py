"""A wrong setting is refused where it is written, in one sentence that says what to write."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import taximeter
from taximeter import guardrails, policies, routing

# Without their types: those refuse most of this before it runs.
shim: Any = taximeter
rails: Any = guardrails
allowed: Any = policies
routes: Any = routing


def work(value: Any = None) -> Any:
    return value


def pieces() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (lambda: shim.Limits(iterations="3"), "Limits(iterations='3'): give a number, 0 or more"),
        (lambda: shim.Limits(tokens=True), "Limits(tokens=True): give a number, 0 or more"),
        (lambda: shim.Limits(cost_usd=math.nan), "Limits(cost_usd=nan): give a number, 0 or more"),
        (lambda: shim.Limits(cost_usd=-1), "Limits(cost_usd=-1): give a number, 0 or more"),
        (lambda: shim.Limits(min_confidence=80), "Limits(min_confidence=80): give a number, from 0 to 1"),
        (lambda: shim.Limits(polling="wait"), "Limits(polling='wait'): give a tuple of names or patterns"),
        (lambda: shim.Limits(polling=[1]), "Limits(polling=[1]): give a tuple of names or patterns"),
        (lambda: shim.agent(work), 'agent: give a name, @agent("support")'),
        (lambda: shim.agent("a", limits={"tokens": 1}), "agent 'a': limits are Limits(…), not dict"),
        (lambda: shim.request(limits=5), "request: limits are Limits(…), not int"),
        (lambda: shim.tool("search"), "tool('search'): write @tool, or @tool(name=…)"),
        (lambda: shim.tool(staticmethod(work)), "tool: write @tool below @staticmethod, next to the function"),
        (lambda: shim.tool(name="x")(classmethod(work)), "tool: write @tool below @classmethod, next to the function"),
        (lambda: shim.agent("a")(staticmethod(work)), "agent: write @agent below @staticmethod, next to the function"),
        (lambda: shim.tool(timeout_s=1)(pieces), "tool pieces: timeout_s can't stop a generator that is not async; make it async, return a list, or leave it out"),
        (lambda: shim.tool(breaker=shim.Breaker(fallback="down"))(pieces), "tool pieces yields: its breaker's fallback must be a list of items, or a function that gives one, not 'down'"),
        (lambda: shim.tool(retries="2"), "tool(retries='2'): give a number, 0 or more"),
        (lambda: shim.tool(timeout_s=0), "tool(timeout_s=0): give a number above 0"),
        (lambda: shim.tool(rate="9"), "Rate(per_minute='9'): give a number above 0"),
        (lambda: shim.Rate(0), "Rate(per_minute=0): give a number above 0"),
        (lambda: shim.Rate(1, burst=0), "Rate(burst=0): give a number, 1 or more"),
        (lambda: shim.Breaker(failures=0), "Breaker(failures=0): give a number, 1 or more"),
        (lambda: shim.Backoff(first_s=math.inf), "Backoff(first_s=inf): give a number, 0 or more"),
        (lambda: allowed.Commands(""), "Commands: give each entry as a text of its own, Commands('git status', …)"),
        (lambda: allowed.Commands(["ls"]), "Commands: give each entry as a text of its own, Commands('git status', …)"),
        (lambda: allowed.Hosts(), "Hosts: give each entry as a text of its own, Hosts('api.example.com', …)"),
        (lambda: allowed.Hosts("https://a.b"), "Hosts: give names of hosts, without a scheme or a path"),
        (lambda: allowed.Values(), "Values: give each entry as a text of its own, Values('*@example.com', …)"),
        (lambda: routes.Routes({"plan": "claude-opus-5-5"}, unpriced="skp"), "Routes(unpriced='skp'): use 'allow' or 'skip'"),
        (lambda: rails.protect(input="secret")(work), "protect: 's' is no guardrail; make one of a function with @guardrail"),
    ],
)  # fmt: skip
def test_it_is_refused_in_one_sentence(setting: Callable[..., Any], sentence: str) -> None:
    with pytest.raises((TypeError, ValueError)) as refused:
        setting()
    assert str(refused.value) == sentence


def test_polling_tools_may_be_a_list() -> None:
    assert shim.Limits(polling=["*_status"]) == shim.Limits(polling=("*_status",))


def test_a_verdict_that_is_none_blocks() -> None:
    assert rails.Guardrail(lambda value: rails.allow(), "mine")("text") == "text"
    with pytest.raises(taximeter.GuardrailBlocked):
        rails.Guardrail(lambda value: rails.Verdict("deny"), "mine")("text")
