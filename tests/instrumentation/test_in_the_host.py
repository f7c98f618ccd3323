"""The shim in somebody else's process: it never raises, never blocks, and sends what it has."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from tests.instrumentation.hosts import Sink, host

from taximeter.guard import Faults, faults, guarded

HEAVY = ("duckdb", "grpc", "streamlit", "pandas", "plotly", "pyarrow", "requests", "anthropic",
         "openai", "apscheduler", "asyncio", "taximeter.pricing")  # fmt: skip


def test_a_program_that_just_ends_has_sent_its_spans(sink: Sink) -> None:
    program = host("taximeter.init(service='s')\nfor n in range(50): work(n)", sink.url)
    assert program.wait(30) == 0
    assert len(sink.names) == 50


def test_sigterm_without_a_handler_sends_first_and_still_kills(sink: Sink) -> None:
    program = host(
        """
        taximeter.init(service='s')
        for n in range(50): work(n)
        print('ready', flush=True)
        time.sleep(30)
        """,
        sink.url,
    )
    assert program.stdout is not None and program.stdout.readline() == "ready\n"
    program.send_signal(signal.SIGTERM)
    assert program.wait(10) == -signal.SIGTERM
    assert len(sink.names) == 50


def test_a_multiprocessing_child_sends_its_spans(sink: Sink) -> None:
    program = host(
        """
        import multiprocessing
        taximeter.init(service='s')
        child = multiprocessing.get_context('fork').Process(target=work, args=(1,))
        child.start(); child.join()
        """,
        sink.url,
    )
    assert program.wait(30) == 0
    assert sink.names == ["execute_tool work"]


def test_a_dead_collector_costs_telemetry_and_not_the_agent() -> None:
    started = time.monotonic()
    program = host(
        """
        taximeter.init(service='s')
        began = time.perf_counter()
        with taximeter.request(user='u') as request:
            for n in range(2000): assert work(n) == n
        print(time.perf_counter() - began)
        """,
        "http://127.0.0.1:9",
    )
    out, err = program.communicate(timeout=60)
    assert program.returncode == 0
    assert "Traceback" not in err
    assert err.count("encountered while exporting") <= 1
    assert float(out) < 5
    assert time.monotonic() - started < 30


def test_switched_off_it_does_nothing(sink: Sink) -> None:
    program = host(
        "os.environ['TAXIMETER_DISABLED'] = '1'\ntaximeter.init()\nassert work(1) == 1", sink.url
    )
    assert program.wait(30) == 0
    assert sink.names == []


LIMITED = """
import asyncio
limits = taximeter.Limits(cost_usd=1)
@taximeter.agent('a', limits=limits)
def run(): pass
@taximeter.agent('b', limits=limits)
async def run_async(): pass
@taximeter.agent('c')
def unlimited(): pass
unlimited()
run(); run(); asyncio.run(run_async())
with taximeter.request(limits=limits): pass
"""


def test_limits_without_init_are_told_of_once(sink: Sink) -> None:
    _, said = host(LIMITED, sink.url).communicate(timeout=30)
    assert said.count("agent 'a' runs without its limits") == 1
    assert said.count("limits") == 1 and "taximeter.init()" in said


@pytest.mark.parametrize("way", ["taximeter.init()", "os.environ['TAXIMETER_DISABLED'] = '1'"])
def test_limits_that_hold_or_are_off_on_purpose_are_not_spoken_of(sink: Sink, way: str) -> None:
    _, said = host(way + LIMITED, sink.url).communicate(timeout=30)
    assert said == ""


def test_it_joins_the_applications_own_provider(sink: Sink) -> None:
    program = host(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        mine = TracerProvider()
        trace.set_tracer_provider(mine)
        taximeter.init()
        assert trace.get_tracer_provider() is mine
        with trace.get_tracer('app').start_as_current_span('theirs'): work(1)
        """,
        sink.url,
    )
    _, err = program.communicate(timeout=30)
    assert program.returncode == 0, err
    assert sorted(sink.names) == ["execute_tool work", "theirs"]


def test_importing_it_loads_nothing_heavy() -> None:
    program = f"import sys, taximeter; print([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    assert out.strip() == "[]"


def test_a_fault_of_ours_is_counted_and_stays_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "reraise", False)
    before = faults.by_place.total()

    @guarded(default="default")
    def hook() -> str:
        raise RuntimeError("ours")

    assert hook() == "default"
    assert faults.by_place.total() == before + 1
    assert isinstance(faults, Faults)
