"""No pattern changes a number, and no planted secret is stored: recorded clients, with and without [redaction]."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.corpus.archive import Export, Scenario, scenarios
from tests.corpus.replay import as_protobuf, replay_all
from tests.telemetry import Tables, put, tables

from taximeter.settings.settings import RedactionSettings
from taximeter_collector.store.data_files import ROLLUP_TABLES
from taximeter_collector.store.store import Store

CANARIES: Final = (
    "sk-ant-api03-canaryabcdefghijklmnopqrstuvwxyz012345",
    "carla.canary@example.org",
    "canary-battery-staple",
)
KEY: Final = "ghp_canaryabcdefghijklmnopqrstuvwxyz0123456789"
"""Stands in the name of an attribute: only shipped patterns look there."""
TEXT: Final = f"use {CANARIES[0]} for {CANARIES[1]} with password={CANARIES[2]} please"
LABELS: Final = {
    "call": {"name", "usage_raw"},
    "tool_call": {"name"},
    "agent_run": {"agent_name", "parent_agent"},
    "request": {"name", "agents"},
}
"""Columns that repeat a text for people; every other column must be the same."""


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    with replayed(tmp_path_factory.mktemp("plain"), RedactionSettings()) as store:
        return tables(store)


@contextmanager
def replayed(folder: Path, rules: RedactionSettings) -> Iterator[Store]:
    with closing(Store(folder)) as store:
        replay_all(store, [_planted(one) for one in list(scenarios().values())[::7]], rules)
        yield store


@pytest.mark.parametrize("rules", [
    RedactionSettings(built_in=("secrets", "pii")),
    RedactionSettings(patterns=(r"[\s\S]+",)),
    RedactionSettings(patterns=("[a-z]+", r"\d+"), allow_keys=("nothing",)),
], ids=["built in", "everything", "words and digits, nothing allowed"])  # fmt: skip
def test_numbers_are_those_without_rules_and_secrets_are_gone(
    tmp_path: Path, plain: Tables, rules: RedactionSettings
) -> None:
    wanted = (*CANARIES, KEY) if rules.built_in else CANARIES
    with replayed(tmp_path, rules) as store:
        masked = tables(store)
        assert any(file.suffix == ".wal" and file.stat().st_size for file in tmp_path.iterdir())
        assert _secrets_in(tmp_path, *wanted) == []
        for table, rows in plain.items():
            assert _unlabelled(store, table, masked[table]) == _unlabelled(store, table, rows), (
                table
            )
        assert len(plain["call"]) > 100 and len(plain["tool_call"]) > 30
    assert _secrets_in(tmp_path, *wanted) == []


def test_without_rules_the_secrets_would_be_there(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        replay_all(store, [_planted(one) for one in list(scenarios().values())[:1]])
        assert {secret for _, secret in _secrets_in(tmp_path, *CANARIES, KEY)} == {
            *CANARIES,
            KEY,
        }


def _secrets_in(folder: Path, *secrets: str) -> list[tuple[str, str]]:
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert files
    content = {file.name: file.read_bytes() for file in files}
    return [(n, s) for n, data in content.items() for s in secrets if s.encode() in data]


def _unlabelled(store: Store, table: str, rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    assert table in ROLLUP_TABLES
    with store.read() as cursor:
        names = [row[0] for row in cursor.execute(f"describe rollup.{table}").fetchall()]
    names = [
        name
        for name in names
        if name not in {"first_received_at", "last_received_at", "first_batch"}
    ]
    kept = [place for place, name in enumerate(names) if name not in LABELS.get(table, set())]
    assert all(len(row) == len(names) for row in rows)
    return sorted((tuple(row[place] for place in kept) for row in rows), key=repr)


def _planted(scenario: Scenario) -> Scenario:
    exports = [Export(one.signal, False, _plant(one)) for one in scenario.exports]
    return Scenario(scenario.client, scenario.name, scenario.truth, exports)


def _plant(export: Export) -> bytes:
    """Return the export with the canaries in every text that a client fills freely."""
    return _PLANT[export.signal](as_protobuf(export))


def _plant_traces(data: bytes) -> bytes:
    request = ExportTraceServiceRequest.FromString(data)
    for resource in request.resource_spans:
        put(resource.resource.attributes, {"process.command_line": TEXT})
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            _into(span.attributes)
            put(span.attributes, {"debug.dump": TEXT, f"by {KEY}": "x", "debug.list": [TEXT]})
            put(span.events.add(name=f"note: {TEXT}").attributes, {"message": TEXT})
            if span.status.message:
                span.status.message += TEXT
    return request.SerializeToString()


def _plant_logs(data: bytes) -> bytes:
    request = ExportLogsServiceRequest.FromString(data)
    for resource in request.resource_logs:
        put(resource.resource.attributes, {"process.command_line": TEXT})
        for record in (record for scope in resource.scope_logs for record in scope.log_records):
            _into(record.attributes)
            put(record.attributes, {"debug.dump": TEXT})
            record.body.string_value = TEXT
    return request.SerializeToString()


def _plant_metrics(data: bytes) -> bytes:
    request = ExportMetricsServiceRequest.FromString(data)
    for resource in request.resource_metrics:
        put(resource.resource.attributes, {"process.command_line": TEXT})
        for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
            for point in getattr(metric, metric.WhichOneof("data") or "sum").data_points:
                put(point.attributes, {"debug.dump": TEXT})
    return request.SerializeToString()


_PLANT: Final = {"traces": _plant_traces, "logs": _plant_logs, "metrics": _plant_metrics}


def _into(attributes: Any) -> None:
    """Put the canaries into what was asked and answered: texts inside JSON, and prompts."""
    for pair in attributes:
        text = pair.value.string_value
        if text.startswith(("{", "[")):
            spread = re.sub(
                r'(\\?"(?:text|content|prompt|query)\\?": ?\\?")', rf"\g<1>{TEXT} ", text
            )
            pair.value.string_value = spread
        elif text and pair.key.endswith(
            (".content", "prompt", "completion", "input.value", "output.value")
        ):
            pair.value.string_value = f"{text} {TEXT}"
