"""`taximeter up` with the real parts: from a span to rows, through a crash, to a clean end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from taximeter.settings.ports import is_alive, read_ports, web_port

READY_WITHIN_S = 90
PARTS = ("COLLECTOR_HTTP", "COLLECTOR_GRPC", "ALERTS", "DASHBOARD")


@dataclass
class Up:
    process: subprocess.Popen[str]
    data_dir: Path
    environment: dict[str, str]

    def taximeter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "taximeter", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def count_spans(self) -> int:
        done = self.taximeter("query", "select count(*) as n from spans", "--format", "json")
        return int(json.loads(done.stdout)[0]["n"]) if done.returncode == 0 else -1

    def send_span(self) -> None:
        port = read_ports(self.data_dir)["collector"]["http_port"]
        provider = TracerProvider()
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{port}/v1/traces")
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.get_tracer("test").start_span("hello").end()
        provider.shutdown()


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    environment = {key: value for key, value in os.environ.items() if "TAXIMETER" not in key}
    environment |= {f"TAXIMETER_{part}_PORT": "0" for part in PARTS}
    environment["TAXIMETER_STORE_DATA_DIR"] = str(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "taximeter", "up", "--no-browser"],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield Up(process, tmp_path, environment)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def wait_until_running(up: Up) -> str:
    assert up.process.stdout is not None
    said = ""
    give_up = time.monotonic() + READY_WITHIN_S
    for line in up.process.stdout:
        said += line
        if "Ctrl-C stops everything" in line:
            return said
        assert time.monotonic() < give_up, said
    raise AssertionError(said)


def test_up_takes_a_span_survives_a_crash_and_stops_cleanly(up: Up) -> None:
    said = wait_until_running(up)
    ports = read_ports(up.data_dir)
    assert f"dashboard   http://127.0.0.1:{web_port(ports['dashboard'])}" in said
    assert f"TAXIMETER_ENDPOINT=http://127.0.0.1:{ports['collector']['http_port']} set" in said
    up.send_span()
    assert up.count_spans() == 1

    doctor = up.taximeter("doctor")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert up.count_spans() == 2

    os.kill(ports["collector"]["pid"], signal.SIGKILL)
    give_up = time.monotonic() + 60
    while up.count_spans() != 2:
        assert time.monotonic() < give_up, "the collector did not come back with its rows"
        time.sleep(0.2)
    assert read_ports(up.data_dir)["collector"]["http_port"] == ports["collector"]["http_port"]

    assert not [file for file in up.data_dir.glob("*.duckdb") if file.stat().st_mode & 0o077]

    pids = [entry["pid"] for entry in read_ports(up.data_dir).values()]
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(timeout=60) == 0
    assert not any(is_alive(pid) for pid in pids)
