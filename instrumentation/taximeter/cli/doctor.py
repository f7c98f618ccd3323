"""`taximeter doctor`: checks the set-up end to end and says what to do about what fails."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal

from taximeter.read_query import QueryFailed, open_url, read_query
from taximeter.settings.ports import collector_url, live_port, part_url, served_certificate
from taximeter.settings.settings import Settings, load_settings

State = Literal["ok", "warning", "failed"]

LOW_DISK_BYTES: Final = 1_000_000_000
SPAN_WITHIN_S: Final = 10.0
CLOCK_WITHIN_S: Final = 5.0
_MARKS: Final[dict[State, str]] = {"ok": "ok  ", "warning": "note", "failed": "FAIL"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, how it is, and what to do."""

    check: str
    state: State
    message: str


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    doctor = commands.add_parser("doctor", help="check the set-up end to end")
    doctor.add_argument("--config", metavar="FILE", help="taximeter.toml")
    doctor.add_argument("--data-dir", metavar="DIR", help="where the data lies")
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(run=run_doctor)


def run_doctor(options: argparse.Namespace) -> int:
    """Print the findings as they come; return 1 if one failed."""
    settings = load_settings(options.config, data_dir=options.data_dir)
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if not options.json:
            print(f"{_MARKS[finding.state]}  {finding.check}: {finding.message}", flush=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.state == "failed" for finding in findings))


def examine(settings: Settings) -> Iterator[Finding]:
    """Yield the findings, the most basic first."""
    url = collector_url(settings)
    yield _versions(settings)
    yield _data_dir(settings.store.data_dir)
    status = _status(url, settings)
    if isinstance(status, Finding):
        yield status
        return
    yield _same_version(url, status)
    yield _grpc_port(settings)
    yield from _prices(url, settings, status)
    yield _clock(url, settings)
    yield _round_trip(url, settings)
    yield _part_answers(settings, "alerts", settings.alerts.host, "/healthz")
    yield _part_answers(settings, "dashboard", settings.dashboard.host, "/_stcore/health")


def _versions(settings: Settings) -> Finding:
    where = f"settings from {settings.file}" if settings.file else "no taximeter.toml, all defaults"
    return Finding("version", "ok", f"taximeter {_our_version()}; {where}")


def _data_dir(data_dir: Path) -> Finding:
    nearest = next(path for path in (data_dir, *data_dir.absolute().parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return Finding("data dir", "failed", f"{data_dir} can't be written: choose another.")
    free = shutil.disk_usage(nearest).free
    state: State = "warning" if free < LOW_DISK_BYTES else "ok"
    return Finding("data dir", state, f"{data_dir}, {free / 1e9:.1f} GB free on its disk")


def _status(url: str, settings: Settings) -> dict[str, Any] | Finding:
    try:
        with open_url(
            f"{url}/v1/status",
            settings.collector.query_token,
            timeout_s=10,
            served=served_certificate(settings),
        ) as response:
            status: dict[str, Any] = json.load(response)
            return status
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return Finding("collector", "failed", "It wants a token: set TAXIMETER_QUERY_TOKEN.")
        message = f"{url} answers {error.code}: another program has this port?"
        return Finding("collector", "failed", message)
    except (OSError, ValueError):
        return Finding("collector", "failed", f"Nothing answers at {url}: run `taximeter up`.")


def _same_version(url: str, status: dict[str, Any]) -> Finding:
    theirs, ours = status.get("version"), _our_version()
    if errors := status.get("errors"):
        return Finding("collector", "warning", f"{url} answers, with an error: {errors[0]}")
    if theirs != ours:
        message = f"{url} runs {theirs}, this is {ours}: restart it."
        return Finding("collector", "warning", message)
    return Finding("collector", "ok", f"{url}, {status.get('queue_depth')} requests waiting")


def _grpc_port(settings: Settings) -> Finding:
    port = live_port(settings.store.data_dir, "collector", "grpc_port")
    address = (settings.collector.host, port or settings.collector.grpc_port)
    try:
        socket.create_connection(address, timeout=5).close()
    except OSError as error:
        return Finding("gRPC", "failed", f"{address[0]}:{address[1]} is closed: {error}")
    return Finding("gRPC", "ok", f"{address[0]}:{address[1]}")


def _prices(url: str, settings: Settings, status: dict[str, Any]) -> Iterator[Finding]:
    yield Finding("prices", "ok", str(status.get("price_version")))
    try:
        rows = _ask(url, settings, "select count(*) from unpriced_models")
    except QueryFailed as error:
        yield Finding("unpriced models", "failed", str(error))
        return
    count = rows[0][0]
    if count:
        message = f"{count} models without a price: see `taximeter prices coverage`."
        yield Finding("unpriced models", "warning", message)
    else:
        yield Finding("unpriced models", "ok", "every model seen has a price")


def _clock(url: str, settings: Settings) -> Finding:
    try:
        theirs = float(_ask(url, settings, "select epoch(now())")[0][0])
    except QueryFailed as error:
        return Finding("clock", "failed", str(error))
    apart = abs(theirs - time.time())
    if apart > CLOCK_WITHIN_S:
        message = f"The collector's clock is {apart:.0f} s from this one: start NTP on both."
        return Finding("clock", "warning", message)
    return Finding("clock", "ok", "the collector's is this one's")


def _round_trip(url: str, settings: Settings) -> Finding:
    """Send a span as an agent would, and read it as the dashboard would."""
    trace_id, started = secrets.token_hex(16), time.monotonic()
    body = json.dumps(_test_span(trace_id)).encode()
    try:
        open_url(
            f"{url}/v1/traces",
            settings.collector.ingest_token,
            body=body,
            served=served_certificate(settings),
        ).close()
        while time.monotonic() - started < SPAN_WITHIN_S:
            if _ask(url, settings, f"select 1 from spans where trace_id = '{trace_id}'"):
                took_ms = (time.monotonic() - started) * 1000
                return Finding("test span", "ok", f"sent, stored and read in {took_ms:.0f} ms")
            time.sleep(0.1)
    except urllib.error.HTTPError as error:
        hint = ": set TAXIMETER_INGEST_TOKEN" if error.code == 401 else ""
        return Finding("test span", "failed", f"refused with {error.code}{hint}.")
    except (QueryFailed, OSError) as error:
        return Finding("test span", "failed", str(error))
    message = f"sent, but not readable after {SPAN_WITHIN_S:.0f} s: see logs/collector.log."
    return Finding("test span", "failed", message)


def _test_span(trace_id: str) -> dict[str, Any]:
    def text(key: str, value: str) -> dict[str, Any]:
        return {"key": key, "value": {"stringValue": value}}

    now = time.time_ns()
    span = {
        "traceId": trace_id,
        "spanId": secrets.token_hex(8),
        "name": "doctor",
        "kind": 1,
        "startTimeUnixNano": str(now),
        "endTimeUnixNano": str(now + 1_000_000),
    }
    resource = [
        text("service.name", "taximeter-doctor"),
        text("deployment.environment.name", "taximeter-doctor"),
    ]
    return {
        "resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [{"spans": [span]}]}]
    }


def _part_answers(settings: Settings, part: str, host: str, path: str) -> Finding:
    port = live_port(settings.store.data_dir, part)
    if port is None:
        return Finding(part, "warning", f"not running: `taximeter {part}` or `taximeter up`")
    url = part_url(settings, host, port)
    try:
        open_url(f"{url}{path}", None, timeout_s=10, served=served_certificate(settings)).close()
    except (OSError, ValueError) as error:
        return Finding(part, "failed", f"{url} does not answer ({error}): see logs/{part}.log.")
    return Finding(part, "ok", url)


def _ask(url: str, settings: Settings, sql: str) -> list[list[Any]]:
    token = settings.collector.query_token
    answer = read_query(
        url,
        sql,
        token=token.reveal() if token else None,
        timeout_s=10,
        served=served_certificate(settings),
    )
    rows: list[list[Any]] = answer["rows"]
    return rows


def _our_version() -> str:
    try:
        return version("taximeter")
    except PackageNotFoundError:
        return "unknown"
