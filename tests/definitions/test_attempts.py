"""Attempts are what the provider sees, calls are what the agent asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.definitions.spans import agent, call, plain, tool
from tests.telemetry import Span, one, send, wipe

from taximeter_collector.metrics import METRICS
from taximeter_collector.store.store import Store

ASKED: dict[str, Any] = {"gen_ai__input__messages": "[1]"}
OTHER: dict[str, Any] = {"gen_ai__input__messages": "[2]"}


def retries(store: Store, *spans: Span) -> tuple[object, ...]:
    send(store, [[agent(1, end=500_000), *spans]])
    return one(store, "select retries, loop_length from requests")


def test_the_same_question_after_a_failure_is_a_retry(store: Store) -> None:
    found = retries(store, call(2, at=0, failed=True, **ASKED), call(3, at=900, failed=True, **ASKED), call(4, at=2000, **ASKED))  # fmt: skip
    assert found == (2, 1)
    assert one(store, "select is_error, recovered_errors from requests") == (False, 2)


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(call(3, at=900, **OTHER), id="another question"),
        pytest.param(call(3, at=50, **ASKED), id="overlapping"),
        pytest.param(call(3, at=120_200, **ASKED), id="two minutes later"),
        pytest.param(call(3, at=900, gen_ai__request__model="claude-haiku-4-5", **ASKED), id="another model"),
        pytest.param(call(3, 7, at=900, **ASKED), id="another parent"),
    ],
)  # fmt: skip
def test_what_is_no_retry(store: Store, second: Span) -> None:
    found = retries(
        store, agent(7, 1, end=500_000, name="b"), call(2, at=0, failed=True, **ASKED), second
    )
    assert found[0] is None  # none is seen, and the emitter does not say that it resends nothing


def test_parallel_calls_with_the_same_question_are_no_retries(store: Store) -> None:
    assert retries(store, call(2, at=0, **ASKED), call(3, at=10, **ASKED)) == (None, 2)


def test_numbers_tell_of_attempts_that_have_no_span(store: Store) -> None:
    resent = call(2, at=0, http__request__resend_count=2)
    assert retries(store, resent, call(3, at=500, taximeter__attempt=2)) == (3, 2)


def test_numbered_attempts_with_spans_are_counted_once(store: Store) -> None:
    found = retries(store, call(2, at=0, failed=True, attempt=1), call(3, at=500, failed=True, attempt=2), call(4, at=900, attempt=3))  # fmt: skip
    assert found == (2, 1)


def test_rates_of_attempts_and_of_calls(store: Store) -> None:
    """Four attempts of two calls: one came right at the second, the other failed twice."""
    send(store, [[agent(1, end=500_000), call(2, at=0, failed=True, **ASKED), call(3, at=900, **ASKED),
                  call(4, at=2000, failed=True, error__type="429", **OTHER),
                  call(5, at=3000, failed=True, error__type="529", http__request__resend_count=1, **OTHER)]])  # fmt: skip
    names = (
        "retry_rate",
        "call_error_rate",
        "logical_call_error_rate",
        "throttled_rate",
        "error_rate",
    )
    got = one(store, "select " + ", ".join(METRICS[name].expression for name in names) + " from usage_minute")  # fmt: skip
    assert got == (2 / 2, 3 / 4, 1 / 2, 2 / 4, 1.0)


def test_a_request_that_ends_on_a_failed_call_is_failed_and_one_that_goes_on_is_not(store: Store) -> None:  # fmt: skip
    send(store, [[agent(1), call(2, at=0), call(3, at=500, failed=True)],
                 [agent(1, trace=2), call(2, at=0, failed=True, trace=2), tool(3, at=300, trace=2, failed=True), call(4, at=900, trace=2, finish="stop")]])  # fmt: skip
    rows = one(store, "select list((is_error, termination_reason, recovered_errors) order by request_id) from requests")[0]  # fmt: skip
    assert rows == [(True, "error", 0), (False, "completed", 2)]
    recovered = METRICS["recovered_rate"].expression
    assert one(store, f"select {recovered} from usage_minute") == (0.5,)


SDK = "com.anthropic.sdk.python"


def test_silence_means_no_retry_only_of_those_who_would_tell(store: Store) -> None:
    told = replace(call(2, at=0), scope=SDK)
    assert retries(store, told)[0] == 0
    wipe(store)
    assert retries(store, call(2, at=0), replace(call(3, at=500), scope=SDK))[0] is None


def counts(store: Store, *spans: Span) -> tuple[object, ...]:
    send(store, [list(spans)])
    return one(store, "select model_calls, failed_calls, retries from requests")


def test_calls_are_counted_not_their_attempts(store: Store) -> None:
    spans = (
        call(2, at=0, failed=True, **ASKED),
        call(3, at=900, **ASKED),
        call(4, at=2000, failed=True, **OTHER),
    )
    assert counts(store, agent(1), *spans) == (2, 1, 1)


def test_a_call_without_an_outcome_makes_the_failed_ones_unknown(store: Store) -> None:
    silent = plain(
        3,
        1,
        at=500,
        end=900,
        gen_ai__operation__name="chat",
        gen_ai__request__model="claude-sonnet-4-5",
    )
    assert counts(store, agent(1), silent) == (1, None, None)


def test_a_provider_error_of_the_request_that_no_call_shows_makes_them_unknown(
    store: Store,
) -> None:
    assert counts(store, agent(1, failed=True, error__type="429"), call(2, at=0)) == (1, None, None)
    wipe(store)
    assert counts(store, agent(1, failed=True, error__type="KeyError"), call(2, at=0)) == (
        1,
        0,
        None,
    )


def test_an_answer_that_is_an_error_is_a_failed_call(store: Store) -> None:
    nothing = plain(
        2, 1, at=0, end=90, gen_ai__operation__name="chat", gen_ai__response__finish_reasons="error"
    )
    assert counts(store, agent(1), nothing) == (1, 1, None)


def test_a_cancelled_call_stays_cancelled_whatever_its_twin_says(store: Store) -> None:
    asked: dict[str, Any] = {
        "gen_ai__operation__name": "chat",
        "gen_ai__request__model": "claude-sonnet-4-5",
    }
    outer = plain(2, 1, at=0, end=200, scope="langsmith", failed=True, error__type="CancelledError", **asked)  # fmt: skip
    inner = plain(3, 1, at=20, end=90, scope=SDK, failed=True, error__type="api_error", **asked)
    send(store, [[agent(1), outer, inner]])
    stored = "select list(status order by start_time) from calls"
    assert one(store, stored) == (["cancelled", "error"],)


def test_a_call_failed_when_one_of_its_two_spans_says_so(store: Store) -> None:
    outer = plain(
        2,
        1,
        at=0,
        end=200,
        gen_ai__operation__name="chat",
        gen_ai__request__model="claude-sonnet-4-5",
        scope="langsmith",
    )
    inner = plain(
        3,
        1,
        at=20,
        end=90,
        gen_ai__operation__name="chat",
        gen_ai__request__model="claude-sonnet-4-5",
        scope=SDK,
        failed=True,
        error__type="429",
    )
    assert counts(store, agent(1), outer, inner)[:2] == (1, 1)
    assert one(store, "select status, error_class from calls where is_billed") == (
        "error",
        "throttled",
    )
