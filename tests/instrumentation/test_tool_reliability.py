"""What a tool does when its backend fails: retries, waits, time-outs, circuit, rate, deadline."""

from __future__ import annotations

import asyncio
import io
import ssl
import time
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from typing import Any

import httpx
import pytest
import requests
from tests.instrumentation.observed import Time, attempts

import taximeter
from taximeter.runs.limits import Limits
from taximeter.testing import SpanList
from taximeter.tools.denied import Denied
from taximeter.tools.rate import Rate
from taximeter.tools.retry import (
    Backoff,
    http_status,
    is_retryable,
    retry_after_s,
    wait_before_retry,
)

AT_ONCE = Backoff(first_s=0.0)


def requests_error(status: int, **headers: str) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return requests.HTTPError(response=response)


def httpx_error(status: int, **headers: str) -> httpx.HTTPStatusError:
    response = httpx.Response(status, headers={k.replace("_", "-"): v for k, v in headers.items()})
    return httpx.HTTPStatusError("", request=httpx.Request("GET", "http://x"), response=response)


def urllib_error(status: int, **headers: str) -> urllib.error.HTTPError:
    message = Message()
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    return urllib.error.HTTPError("http://x", status, "", message, io.BytesIO())


class ClientResponseError(Exception):
    """As aiohttp's: a status and headers of its own."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status, self.headers = status, headers


class BotoError(Exception):
    """As botocore's: everything in a dictionary."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers}}


def named(module: str, name: str, *bases: type[Exception]) -> Exception:
    """An exception as a library that is not installed here would raise it."""
    kind: type[Exception] = type(name, bases or (Exception,), {"__module__": module})
    return kind("x")


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "may_pass"),
    [
        (TimeoutError(), True),
        (ConnectionResetError(), True),
        (BrokenPipeError(), True),
        (requests.ConnectTimeout(), True),
        (requests.ConnectionError(), True),
        (requests.exceptions.SSLError(), False),
        (requests.exceptions.InvalidURL(), False),
        (httpx.ReadTimeout(""), True),
        (httpx.ConnectError(""), True),
        (httpx.RemoteProtocolError(""), True),
        (httpx.UnsupportedProtocol(""), False),
        (caused(httpx.ConnectError(""), ssl.SSLCertVerificationError()), False),
        (urllib.error.URLError(TimeoutError()), True),
        (urllib.error.URLError(ConnectionRefusedError()), True),
        (urllib.error.URLError(FileNotFoundError()), False),
        (named("aiohttp.client_exceptions", "ClientConnectionError"), True),
        (named("aiohttp.client_exceptions", "ClientSSLError"), False),
        (named("aiohttp.client_exceptions", "InvalidURL"), False),
        (named("anthropic", "APIConnectionError"), True),
        (named("mine", "TimeoutException"), False),
        *((requests_error(s), s in (408, 429, 500, 529)) for s in (400, 404, 408, 409, 429, 500, 529)),
        (httpx_error(503), True),
        (httpx_error(401), False),
        (urllib_error(502), True),
        (urllib_error(403), False),
        (ClientResponseError(504, {}), True),
        (ClientResponseError(422, {}), False),
        (BotoError(503, {}), True),
        (ValueError("no such city"), False),
        (caused(ValueError("wrong answer"), TimeoutError()), False),
        (SystemExit(1), False),
    ],
    ids=repr,
)  # fmt: skip
def test_only_what_may_pass_is_tried_again(error: BaseException, may_pass: bool) -> None:
    assert is_retryable(error) is may_pass


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (requests_error(429, Retry_After="7"), 7.0),
        (httpx_error(503, retry_after="0.5"), 0.5),
        (urllib_error(503, Retry_After="Thu, 26 Nov 2026 12:00:30 GMT"), 30.0),
        (urllib_error(503, Retry_After="Thu, 26 Nov 2026 11:00:00 GMT"), 0.0),
        (ClientResponseError(429, {"Retry-After": "3"}), 3.0),
        (BotoError(429, {"retry-after": "4"}), 4.0),
        (httpx_error(429, retry_after_ms="1500", retry_after="2"), 1.5),
        (httpx_error(429, retry_after="soon"), None),
        (httpx_error(429, retry_after="-3"), None),
        (httpx_error(429, retry_after="nan"), None),
        (httpx_error(429), None),
        (TimeoutError(), None),
    ],
    ids=str,
)
def test_the_wait_that_a_server_asks_for_is_read(error: Exception, seconds: float | None) -> None:
    now = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
    assert retry_after_s(error, lambda: now) == seconds


@pytest.mark.parametrize(
    ("error", "left", "wait"),
    [
        (requests_error(429, Retry_After="7"), None, 7.0),
        (requests_error(429, Retry_After="7"), 8.0, 7.0),
        (requests_error(429, Retry_After="7"), 7.0, None),
        (requests_error(429, Retry_After="61"), None, None),
        (requests_error(404, Retry_After="1"), None, None),
        (TimeoutError(), 0.0, None),
    ],
    ids=["asked", "within the deadline", "beyond it", "too long", "lasting", "no time left"],
)
def test_a_wait_stays_within_the_deadline(
    error: Exception, left: float | None, wait: float | None
) -> None:
    assert wait_before_retry(error, 1, Backoff(), left) == wait


def test_the_backoff_doubles_up_to_its_bound_and_draws_from_all_of_it() -> None:
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    for attempt in (1, 2, 3, 9, 5_000):
        Backoff(first_s=0.5, max_s=8).wait_s(attempt, draw)
    assert bounds == [(0, 0.5), (0, 1), (0, 2), (0, 8), (0, 8)]


def test_a_status_that_is_no_status_is_ignored() -> None:
    error = ValueError("x")
    error.code = "E42"  # type: ignore[attr-defined]
    error.status = True  # type: ignore[attr-defined]
    assert http_status(error) is None


def test_a_lasting_error_is_not_tried_again(spans: SpanList) -> None:
    @taximeter.tool(retries=5, backoff=AT_ONCE)
    def look() -> None:
        raise requests_error(404)

    with pytest.raises(requests.HTTPError):
        look()
    assert len(attempts(spans, "look")) == 1


def test_an_async_tool_is_tried_again_and_numbers_its_attempts(spans: SpanList) -> None:
    outcomes: Iterator[Any] = iter([httpx_error(503), ConnectionResetError(), "fine"])

    @taximeter.tool(retries=2, backoff=AT_ONCE, cost_usd=0.002)
    async def look() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    assert asyncio.run(look()) == "fine"
    found = attempts(spans, "look")
    assert [a["taximeter.attempt"] for a in found] == [1, 2, 3]
    assert [a["taximeter.tool.cost_usd"] for a in found] == [0.002] * 3


def test_a_rate_fills_again_with_time() -> None:
    clock = Time()
    rate = Rate(60, burst=2, when_full="refuse", clock=clock)
    assert [rate.wait_s() for _ in range(3)] == [0.0, 0.0, None]
    clock.now += 1.0
    assert [rate.wait_s() for _ in range(2)] == [0.0, None]
    clock.now += 3_600
    assert [rate.wait_s() for _ in range(3)] == [0.0, 0.0, None]


def test_calls_queue_under_a_rate_that_waits() -> None:
    rate = Rate(60, clock=Time())
    assert [rate.wait_s() for _ in range(3)] == [0.0, 1.0, 2.0]
    assert rate.wait_s(at_most_s=2.9) is None
    assert rate.wait_s(at_most_s=3.1) == 3.0


def test_a_call_above_the_rate_is_refused_and_recorded(spans: SpanList) -> None:
    @taximeter.tool(rate=Rate(1, when_full="refuse"))
    def post() -> str:
        return "posted"

    assert post() == "posted"
    with pytest.raises(Denied, match="1 times a minute"):
        post()
    assert attempts(spans, "post")[1]["taximeter.tool.denied"] is True


def test_a_rate_does_not_wait_beyond_the_deadline(spans: SpanList) -> None:
    @taximeter.tool(rate=1)
    def post() -> str:
        return "posted"

    @taximeter.agent("poster", limits=Limits(deadline_s=5))
    def run() -> None:
        post()
        post()

    with pytest.raises(Denied):
        run()


def test_a_pending_async_tool_is_cancelled_at_the_deadline(spans: SpanList) -> None:
    cancelled: list[bool] = []

    @taximeter.tool
    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    @taximeter.agent("waiter", limits=Limits(deadline_s=0.05))
    async def run() -> None:
        await slow()

    with pytest.raises(taximeter.DeadlineReached):
        asyncio.run(run())
    assert cancelled
    assert attempts(spans, "slow")[0]["error.type"] == "TimeoutError"


def test_a_deadline_caps_the_time_out_of_a_plain_tool(spans: SpanList) -> None:
    @taximeter.tool(timeout_s=60, retries=3)
    def slow() -> None:
        time.sleep(0.5)

    @taximeter.agent("waiter", limits=Limits(deadline_s=0.05))
    def run() -> None:
        slow()

    with pytest.raises(taximeter.DeadlineReached):
        run()
    assert len(attempts(spans, "slow")) == 1


def test_an_async_tool_says_that_it_overran(spans: SpanList) -> None:
    @taximeter.tool(timeout_s=0.01)
    async def slow() -> None:
        await asyncio.sleep(60)

    @taximeter.tool(timeout_s=60)
    async def own() -> None:
        raise TimeoutError("the backend's")

    with pytest.raises(TimeoutError, match=r"did not answer within 0\.01 s"):
        asyncio.run(slow())
    with pytest.raises(TimeoutError, match="the backend's"):
        asyncio.run(own())


def test_reliability_works_before_init_and_without_spans() -> None:
    taximeter.shutdown()
    outcomes = iter([TimeoutError(), "fine"])

    @taximeter.tool(retries=1, backoff=AT_ONCE)
    def look() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return str(outcome)

    assert look() == "fine"


@pytest.mark.parametrize(
    "settings",
    [{"retries": -1}, {"timeout_s": 0}, {"allow": {"pth": None}}, {"rate": 0}],
    ids=["retries", "time-out", "unknown argument", "rate"],
)
def test_settings_that_make_no_sense_are_refused_at_once(settings: Any) -> None:
    with pytest.raises(ValueError):

        @taximeter.tool(**settings)
        def read(path: str) -> str:
            return path
