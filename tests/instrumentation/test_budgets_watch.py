"""Asking for budgets in the background: what comes over the wire, and what a call notices of it."""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.instrumentation.hosts import finish, host
from tests.instrumentation.models import ASK, CLAUDE
from tests.patience import wait_until

import taximeter
from taximeter import lifecycle
from taximeter.budgets import asking, watch
from taximeter.budgets.stops import MOST_BYTES
from taximeter.budgets.watch import Watch, watch_for
from taximeter.testing import FakeModel, SpanList

STOP = {
    "budget": "b", "where": {}, "labels": {"tenant": "acme"}, "amount_usd": 5.0, "used_usd": 5.5,
    "period": "day", "period_end": "midnight", "ends_after_s": 1_000.0,
}  # fmt: skip
SAID: dict[str, Any] = {"stale_after_s": 435.0, "stops": [STOP]}
FRESH = {"Age": "70", "ETag": 'W/"1"'}


class Collector:
    """Answers GET as it is told, and notes what it was asked."""

    def __init__(self) -> None:
        self.status, self.headers, self.body = 200, FRESH, json.dumps(SAID).encode()
        self.asked: list[dict[str, str]] = []
        self.after_s = 0.0
        told = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told.asked.append(
                    {"path": self.path, **{k.lower(): v for k, v in self.headers.items()}}
                )
                time.sleep(told.after_s)
                is_known = self.headers.get("If-None-Match") == told.headers.get("ETag", "")
                with suppress(OSError):
                    self.send_response(304 if is_known and told.status == 200 else told.status)
                    for name, value in told.headers.items():
                        self.send_header(name, value)
                    if not is_known:
                        self.send_header("Content-Length", str(len(told.body)))
                    self.end_headers()
                    self.wfile.write(b"" if is_known else told.body)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """One that is asked every 50 ms."""
    monkeypatch.setattr(watch, "EVERY_S", 0.05)
    running = Collector()
    yield running
    running.server.shutdown()
    running.server.server_close()


@contextmanager
def watching(collector: Collector, **settings: Any) -> Iterator[Watch]:
    taximeter.shutdown()
    taximeter.init(
        service="tests",
        span_exporter=SpanList(),
        endpoint=collector.url,
        **{"budgets": True, **settings},
    )
    meter = lifecycle.meter()
    assert meter is not None and isinstance(meter.fleet, Watch)
    yield meter.fleet
    taximeter.shutdown()


def is_stopped(tenant: str = "acme") -> bool:
    client = FakeModel().anthropic()
    try:
        with taximeter.request(tenant=tenant):
            client.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)
    except taximeter.CostBudgetReached:
        return True
    return False


def asked_again(collector: Collector, times: int = 3) -> None:
    goal = len(collector.asked) + times
    wait_until(lambda: len(collector.asked) >= goal)


def test_a_budget_that_is_used_up_meanwhile_stops_and_a_raised_one_frees(
    collector: Collector,
) -> None:
    collector.body = json.dumps({**SAID, "stops": []}).encode()
    with watching(collector):
        asked_again(collector)
        assert not is_stopped()
        collector.body, collector.headers = json.dumps(SAID).encode(), {**FRESH, "ETag": "2"}
        wait_until(is_stopped)
        assert not is_stopped("other")
        collector.body = json.dumps({**SAID, "stops": []}).encode()
        collector.headers = {**FRESH, "ETag": "3"}
        wait_until(lambda: not is_stopped())


def test_what_it_has_is_not_sent_again_and_stays_as_fresh_as_it_says(collector: Collector) -> None:
    with watching(collector) as fleet:
        wait_until(lambda: any("if-none-match" in asked for asked in collector.asked))
        asked_again(collector)
        assert is_stopped()
        before = fleet.kept
        collector.headers = {**FRESH, "Age": "436"}
        asked_again(collector)
        assert not is_stopped()
        assert fleet.kept.stops is before.stops and fleet.failed["stale"] > 0


def test_the_shims_token_is_sent_and_a_refused_one_is_said_once(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TAXIMETER_INGEST_TOKEN", "sends")
    collector.status = 401
    with watching(collector) as fleet:
        asked_again(collector)
        assert not is_stopped()
        assert collector.asked[0]["authorization"] == "Bearer sends"
        assert collector.asked[0]["path"] == "/v1/budgets"
        assert fleet.failed["refused"] >= 2
        assert caplog.text.count("refuses the token (401): set TAXIMETER_INGEST_TOKEN") == 1
        collector.status = 200
        wait_until(is_stopped)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"\xff\xfe", b"[]", b"7", b"null", b"[" * 100_000, b"NaN", b"{}",
        json.dumps({**SAID, "stale_after_s": float("inf")}).encode(),
        json.dumps({**SAID, "stale_after_s": True}).encode(),
        json.dumps({**SAID, "stops": {"0": STOP}}).encode(),
        json.dumps({**SAID, "stops": [STOP] * 10_001}).encode(),
        json.dumps({**SAID, "stops": [None]}).encode(),
        json.dumps({**SAID, "stops": [{**STOP, "labels": {"tenant": 1}}]}).encode(),
        json.dumps({**SAID, "stops": [{**STOP, "labels": {"tenant": "\ud800"}}]}).encode(),
        json.dumps({**SAID, "stops": [{**STOP, "budget": "b" * 1_001}]}).encode(),
        json.dumps({**SAID, "stops": [{**STOP, "ends_after_s": -1}]}).encode(),
        b"x" * (MOST_BYTES + 1),
    ],
    ids=lambda body: f"{body[:30]!r}",
)  # fmt: skip
def test_an_answer_that_makes_no_sense_is_ignored_with_one_line(
    collector: Collector, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    collector.body, collector.headers = body, {"Age": "1"}
    with watching(collector) as fleet, caplog.at_level(logging.WARNING):
        asked_again(collector)
        assert not is_stopped()
        assert fleet.failed["unreadable"] >= 2, fleet.failed
        assert caplog.text.count("budgets of the fleet stop no calls here") == 1


@pytest.mark.parametrize(
    ("status", "headers", "kind"),
    [
        (200, {}, "unknown"),
        (200, {"Age": "-5"}, "unreadable"),
        (200, {"Age": "9" * 400}, "unreadable"),
        (200, {"Age": "1", "Content-Encoding": "gzip"}, "unreadable"),
        (302, {"Location": "http://127.0.0.1:9/"}, "no_budgets"),
        (404, {}, "no_budgets"),
        (500, {}, "no_budgets"),
        (304, {"Age": "1"}, "stale"),
    ],
)
def test_other_answers_stop_nobody(
    collector: Collector, status: int, headers: dict[str, str], kind: str
) -> None:
    collector.status, collector.headers = status, headers
    with watching(collector) as fleet:
        asked_again(collector)
        assert not is_stopped()
        assert fleet.failed[kind] >= 2, fleet.failed


def test_bad_answers_leave_the_last_good_one_until_it_is_stale(collector: Collector) -> None:
    collector.body = json.dumps({**SAID, "stale_after_s": 72.0}).encode()
    with watching(collector):
        wait_until(is_stopped)
        collector.body, collector.headers = b"<html>", {"Age": "1"}
        asked_again(collector)
        assert is_stopped()
        wait_until(lambda: not is_stopped())


def test_a_budget_of_an_unknown_kind_is_left_out_and_said_once(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    strange = {**STOP, "labels": {"planet": None}}
    collector.body = json.dumps({**SAID, "stops": [strange, STOP]}).encode()
    with watching(collector):
        wait_until(is_stopped)
        asked_again(collector)
        assert not is_stopped("other")
    assert caplog.text.count("1 budgets of the fleet are of a kind") == 1


def test_nothing_is_asked_unless_it_is_asked_for(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, said in ((None, ""), (None, "0"), (False, "1")):
        monkeypatch.setenv("TAXIMETER_BUDGETS", said)
        assert watch_for(given, collector.url) is None
    for given, said in ((None, "1"), (None, "true"), (True, ""), (None, collector.url)):
        monkeypatch.setenv("TAXIMETER_BUDGETS", said)
        assert watch_for(given, collector.url) is not None


@pytest.mark.parametrize(
    ("environment", "endpoint", "elsewhere", "url"),
    [
        ({}, None, None, "http://127.0.0.1:4318/v1/budgets"),
        ({}, "http://c:1/", None, "http://c:1/v1/budgets"),
        ({}, "http://c:1", "https://d/x/", "https://d/x/v1/budgets"),
        ({"TAXIMETER_ENDPOINT": "http://e:2"}, None, None, "http://e:2/v1/budgets"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://o:3/"}, None, None, "http://o:3/v1/budgets"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://o:3/v1/traces"}, None, None, "http://o:3/v1/budgets"),
    ],
)  # fmt: skip
def test_budgets_are_asked_where_spans_are_sent(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], endpoint: str | None,
    elsewhere: str | None, url: str,
) -> None:  # fmt: skip
    for name in ("TAXIMETER_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert asking.budgets_url(endpoint, elsewhere) == url


def test_where_spans_go_elsewhere_the_address_must_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAXIMETER_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://o:3/otlp")
    with pytest.raises(ValueError, match="TAXIMETER_BUDGETS=http"):
        watch_for(True, None)
    with pytest.raises(ValueError, match="write 1, 0, or the collector's address"):
        watch_for("collector:4318", None)


def test_headers_for_the_spans_do_not_leave_for_another_server(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=theirs")
    with watching(collector):
        asked_again(collector, 1)
    assert collector.asked[0]["api-key"] == "theirs"
    collector.asked.clear()
    with watching(collector, budgets=collector.url):
        asked_again(collector, 1)
    assert "api-key" not in collector.asked[0]


def test_after_shutdown_nothing_is_asked(collector: Collector) -> None:
    with watching(collector):
        asked_again(collector)
    time.sleep(0.2)
    asked = len(collector.asked)
    time.sleep(0.3)
    assert len(collector.asked) == asked


RUN = """
from taximeter.budgets import watch
from taximeter.testing import FakeModel
watch.EVERY_S = 0.05
taximeter.init(service='s', budgets=True)
client = FakeModel().anthropic()
def stopped():
    try:
        with taximeter.request(tenant='acme'):
            client.messages.create(model='claude-sonnet-5-5', max_tokens=9, messages=[{'role': 'user', 'content': 'x'}])
    except taximeter.LimitReached as reached:
        return reached.reason == 'cost_budget'
    return False
def until_stopped():
    for n in range(1200):
        if stopped(): return True
        time.sleep(0.05)
    return False
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_asks_for_itself(collector: Collector) -> None:
    program = host(
        RUN
        + """
assert until_stopped()
child = os.fork()
if not child:
    stopped()
    fleet = taximeter.lifecycle.meter().fleet
    asked = fleet.kept
    for n in range(1200):
        time.sleep(0.05)
        if fleet.kept is not asked: break
    os._exit(0 if fleet.kept is not asked and stopped() else 1)
print(os.waitpid(child, 0)[1])
""",
        collector.url,
    )
    assert finish(program).strip() == "0"


def test_a_spawned_child_asks_for_itself(collector: Collector) -> None:
    program = host(
        """
        import multiprocessing
        taximeter.init(service='s', budgets=True)
        time.sleep(2)
        child = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(2,))
        child.start(); child.join()
        """,
        collector.url,
    )
    finish(program)
    assert len(collector.asked) == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://10.255.255.1:4318"])
def test_a_collector_that_is_away_stops_and_slows_nobody(url: str) -> None:
    program = host(
        RUN
        + """
began = time.perf_counter()
assert not any(stopped() for n in range(50))
print(time.perf_counter() - began)
os._exit(0)
""",
        url,
    )
    assert float(finish(program)) < 10


def test_a_slow_collector_slows_nobody(collector: Collector) -> None:
    collector.after_s = 2.0
    with watching(collector):
        began = time.monotonic()
        assert not is_stopped()
        assert time.monotonic() - began < 1.5


def test_a_check_costs_little_while_nothing_is_used_up(collector: Collector) -> None:
    collector.body = json.dumps({**SAID, "stops": []}).encode()
    with watching(collector) as fleet, taximeter.request() as request:
        asked_again(collector)
        cost = _seconds_of(lambda: fleet.check(request.levels, None, {}))
    assert cost < 20e-6


def _seconds_of(work: Callable[[], object], times: int = 2_000) -> float:
    """Return the quickest of ten turns."""
    turns = []
    for _ in range(10):
        began = time.perf_counter()
        for _ in range(times):
            work()
        turns.append((time.perf_counter() - began) / times)
    return min(turns)
