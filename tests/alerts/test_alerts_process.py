"""The real process against a read API: it answers, stops cleanly, and survives kill -9."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

import httpx
import pyarrow as pa
import pytest
from tests.patience import PATIENCE_S, wait_until


class Store(Protocol):
    def status(self) -> dict[str, Any]: ...
    def query(self, sql: str, params: Any = None, *, max_rows: int = 1_000_000) -> Any: ...
    def add_minutes(self, agent: str, start: datetime, minutes: int, **values: Any) -> None: ...


class World:
    """A read API over the store and a webhook, in one server."""

    def __init__(self, store: Store) -> None:
        self.notices: list[str] = []
        self.status = 200
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.let_go.set()
        lock = threading.Lock()
        world = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer(200, json.dumps(store.status()).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/v1/query":
                    with lock:
                        table = store.query(body["sql"], _decoded(body["params"]))
                    sink = pa.BufferOutputStream()
                    with pa.ipc.new_stream(sink, table.schema) as writer:
                        writer.write_table(table)
                    self.answer(200, sink.getvalue().to_pybytes())
                    return
                world.asked.set()
                world.let_go.wait(PATIENCE_S)
                if world.status == 200:
                    world.notices.append(body["text"])
                self.answer(world.status, b"ok")

            def answer(self, status: int, body: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


def _decoded(params: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value["$timestamp"]) if isinstance(value, dict) else value
        for name, value in params.items()
    }


class Alerts:
    """Starts and stops `python -m taximeter_alerts` on one data dir."""

    def __init__(self, data_dir: Path, world: World) -> None:
        self.data_dir, self.world = data_dir, world
        self.process: subprocess.Popen[str] | None = None
        (data_dir / "alerts.yaml").write_text(
            "version: 1\nevery: 5s\nsettle: 0s\ngroup_wait: 0s\nallow_networks: [127.0.0.0/8]\n"
            "defaults: false\nnotify: {ops: {slack: env:HOOK}}\nrules: [{name: cost-per-request,"
            " watch: cost_per_request_usd, by: agent_name, when: spike 2x}]\n",
            encoding="utf-8",
        )

    def start(self) -> None:
        environ = {
            **os.environ,
            "TAXIMETER_ALERTS_PORT": "0",
            "TAXIMETER_COLLECTOR_HTTP_PORT": str(self.world.port),
            "HOOK": f"http://127.0.0.1:{self.world.port}/hook",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "taximeter_alerts", "--data-dir", str(self.data_dir)],
            env=environ,
            cwd=self.data_dir,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "API on http://127.0.0.1:" in line
        self.url = line.strip().rpartition(" ")[2]

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}").json()

    def firing(self) -> list[dict[str, Any]]:
        return [a for a in self.get("/api/alerts")["alerts"] if a["status"] == "firing"]


def world_of(store: Store, minutes: int) -> Iterator[World]:
    """Yield one whose requests cost far more than usual for so many minutes, from half an hour ago on."""
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    store.add_minutes("support", now - timedelta(days=4), 4 * 1440 - 30, requests=4)
    store.add_minutes("support", now - timedelta(minutes=30), minutes, requests=40, cost_usd=1.0)
    world = World(store)
    yield world
    world.let_go.set()
    world.server.shutdown()
    world.server.server_close()


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    yield from world_of(store, minutes=30)


@pytest.fixture
def alerts(tmp_path: Path, world: World) -> Iterator[Alerts]:
    alerts = Alerts(tmp_path, world)
    alerts.start()
    yield alerts
    if alerts.process is not None and alerts.process.poll() is None:
        alerts.kill()


def test_it_fires_at_start_tells_slack_answers_and_stops_cleanly(
    alerts: Alerts, world: World
) -> None:
    wait_until(lambda: bool(world.notices))
    (alert,) = alerts.firing()
    assert (alert["rule"], alert["labels"]) == ("cost-per-request", {"agent_name": "support"})
    assert "support: cost per request $1.00" in alert["sentence"]
    assert world.notices[0].startswith("🟠 Firing: cost per request, support")
    (incident,) = alerts.get("/api/incidents")["incidents"]
    acked = httpx.post(f"{alerts.url}/api/incidents/{incident['id']}/ack", json={"author": "me"})
    assert acked.json()["acked_by"] == "me"
    silence = {"matchers": {"agent_name": "support"}, "duration": "1h"}
    made = httpx.post(f"{alerts.url}/api/silences", json=silence).json()
    assert alerts.firing()[0]["silenced_by"] == [made["id"]]
    assert httpx.delete(f"{alerts.url}/api/silences/{made['id']}").status_code == 200
    assert alerts.firing()[0]["silenced_by"] == []
    assert httpx.post(f"{alerts.url}/api/silences", content="{}").status_code == 415
    wrong = httpx.post(f"{alerts.url}/api/silences", json={"matchers": {"agnt": "x"}})
    assert (wrong.status_code, "agent_name" in wrong.text) == (400, True)
    foreign = httpx.get(f"{alerts.url}/api/rules", headers={"Host": "evil.example"})
    assert foreign.status_code == 400
    states = {rule["name"]: rule["status"] for rule in alerts.get("/api/rules")["rules"]}
    assert states["cost-per-request"] == "firing"
    assert 'taximeter_alerts_notices{status="sent"} 1' in httpx.get(f"{alerts.url}/metrics").text
    assert alerts.get("/healthz")["status"] == "ok"
    assert alerts.stop() == 0
    assert "alerts" not in json.loads((alerts.data_dir / "ports.json").read_text())


def test_killed_between_firing_and_sending_nothing_is_lost(alerts: Alerts, world: World) -> None:
    world.status = 503
    wait_until(world.asked.is_set)
    alerts.kill()
    assert world.notices == []
    world.status = 200
    alerts.start()
    wait_until(lambda: bool(world.notices))
    assert world.notices[0].startswith("🟠 Firing")
    assert len(alerts.get("/api/incidents")["incidents"]) == 1


def test_killed_while_sending_it_is_sent_again_and_says_so(alerts: Alerts, world: World) -> None:
    world.let_go.clear()
    wait_until(world.asked.is_set)
    alerts.kill()
    world.let_go.set()
    wait_until(lambda: bool(world.notices))
    alerts.start()
    wait_until(lambda: len(world.notices) == 2)
    assert "(possible repeat)" not in world.notices[0]
    assert "(possible repeat)" in world.notices[1]


def test_a_second_process_on_the_data_dir_refuses_to_start(alerts: Alerts) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "taximeter_alerts", "--data-dir", str(alerts.data_dir)],
        env={**os.environ, "TAXIMETER_ALERTS_PORT": "0", "HOOK": "http://127.0.0.1:9/"},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert second.returncode == 2
    assert "already kept by another process" in second.stderr
    assert "Traceback" not in second.stderr
