"""A stored span in, how the rules read it out: the collector's own statements run again on one span.

No rule is written twice: the rule tables come from the collector, the work is `sql/ingest/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock
from typing import Any, Final

import duckdb
import pyarrow as pa

from taximeter.settings.settings import ToolsSettings
from taximeter_collector.dialects import load_rules, load_tool_rules, rules_table
from taximeter_collector.ingest.decode import Rows
from taximeter_collector.ingest.normalise import store_spans
from taximeter_collector.sql_files import read_sql, sql_names

Row = dict[str, Any]
RULES_SQL: Final = "select rule_table, rank, fields from dialect_rules order by rule_table, rank"
_STATUS_CODE: Final = {"ok": 1, "error": 2, "cancelled": 2}
_TEXTS: Final = pa.map_(pa.string(), pa.string())
_SPAN_SCHEMA: Final = pa.schema(
    [("row", pa.int64()), ("request", pa.int64()), ("resource", pa.int64())]
    + [(name, pa.string()) for name in ("scope_name", "scope_version")]
    + [(name, pa.binary()) for name in ("trace_id", "span_id", "parent_span_id")]
    + [("name", pa.string()), ("kind", pa.int32())]
    + [("start_time", pa.uint64()), ("end_time", pa.uint64()), ("attributes", _TEXTS)]
    + [("events", pa.list_(pa.struct([("time", pa.uint64()), ("name", pa.string()),
                                      ("attributes", _TEXTS)])))]
    + [("status_code", pa.int32()), ("status_message", pa.string()), ("signal", pa.string())]
    + [("given_kind", pa.string()), ("is_side", pa.bool_()), ("is_cumulative", pa.bool_())]
    + [("linked_span_id", pa.string())]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of a rule table."""

    fields: Mapping[str, Any]
    place: str
    """File and line: a shipped file of rules, or the user's taximeter.toml."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An attribute that can fill a column."""

    key: str
    path: str | None
    value: str

    @property
    def source(self) -> str:
        """The attribute's key, with the path inside its JSON."""
        return f"{self.key} {self.path}" if self.path else self.key


@dataclass(frozen=True, slots=True)
class Reading:
    """How one span was read."""

    dialect: str
    detected_by: Rule | None
    kind: str
    kind_by: Rule | None
    exclusive_by: Rule | None
    raw_decides: bool
    """Whether the provider's own usage object was read, and not the mapped attributes."""
    candidates: Mapping[str, Sequence[Candidate]]
    """By column, the one that filled it first."""
    typed: Mapping[str, Any]
    """The values as numbers, as `sql/ingest/type.sql` names them."""
    span: Mapping[str, Any]
    """The row of table ``span`` that these rules make."""


class Replay:
    """Reads spans again, one at a time, in a database of its own in memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rules: Sequence[Row] = ()
        self._con = duckdb.connect(":memory:")
        self._con.execute("set TimeZone = 'UTC'; set threads = 1; attach ':memory:' as replay")
        load_rules(self._con)
        for name in sql_names("macros"):
            self._con.execute(read_sql(name))
        load_tool_rules(self._con, ToolsSettings())
        self._con.execute("use replay")
        self._con.execute(read_sql("tables/span"))
        self._con.execute("use memory")

    def read(self, spans: Sequence[Mapping[str, Any]], rules: Sequence[Row]) -> list[Reading]:
        """Return how ``rules`` (rows of view ``dialect_rules``) read ``spans`` (rows of ``spans``)."""
        with self._lock:
            self._use(rules)
            self._con.execute("delete from replay.span")
            store_spans(self._con, _as_received(spans), "replay", 0, datetime.now(UTC))
            return self._readings()

    def _use(self, rules: Sequence[Row]) -> None:
        if rules == self._rules:
            return
        tables: dict[str, list[Row]] = {}
        for row in rules:
            tables.setdefault(row["rule_table"], []).append(json.loads(row["fields"]))
        for table, rows in tables.items():
            self._con.register("rule_rows", rules_table(rows))
            self._con.execute(f'create or replace table "{table}" as from rule_rows')
            self._con.unregister("rule_rows")
        self._rules = rules

    def _readings(self) -> list[Reading]:
        candidates: dict[int, dict[str, list[Candidate]]] = {}
        for row in self._rows(read_sql("explain/candidates")):
            one = Candidate(row["key"], row["path"], row["value"])
            of_span = candidates.setdefault(row["row"], {})
            of_span.setdefault(row["column_name"], []).append(one)
        typed = {row["row"]: row for row in self._rows("from n_typed")}
        stored = {(r["trace_id"], r["span_id"]): r for r in self._rows("from replay.span")}
        return [
            Reading(
                dialect=found["dialect"],
                detected_by=self._rule("detect_rule", found["detect_rank"]),
                kind=found["kind_found"],
                kind_by=self._rule("kind_rule", found["kind_rank"]),
                exclusive_by=self._rule("exclusive_rule", found["exclusive_rank"]),
                raw_decides=found["raw_decides"],
                candidates=candidates.get(found["row"], {}),
                typed=typed[found["row"]],
                span=stored[found["trace_id"], found["span_id"]],
            )
            for found in self._rows(read_sql("explain/rules"))
        ]

    def _rule(self, table: str, rank: int | None) -> Rule | None:
        if rank is None:
            return None
        fields = self._rows(f"select * exclude (rank) from {table} where rank = {int(rank)}")[0]
        return Rule(fields, fields.pop("source") or "a rule of another version")

    def _rows(self, sql: str) -> list[Row]:
        rows: list[Row] = self._con.sql(sql).to_arrow_table().to_pylist()
        return rows


def _as_received(spans: Sequence[Mapping[str, Any]]) -> Rows:
    """Return rows of view ``spans`` as the tables that decoding makes of OTLP."""
    items = [_item(row, span) for row, span in enumerate(spans)]
    resources = [dict(span["resource_attributes"] or ()) for span in spans]
    return Rows(
        pa.Table.from_pylist(items, _SPAN_SCHEMA),
        _pairs("row", [dict(item["attributes"]) for item in items]),
        _pairs("resource", resources),
    )


def _item(row: int, span: Mapping[str, Any]) -> Row:
    names = ("name", "scope_name", "scope_version", "status_message")
    return {name: span[name] for name in names} | {
        "row": row,
        "request": 0,
        "resource": row,
        "trace_id": bytes.fromhex(span["trace_id"]),
        "span_id": bytes.fromhex(span["span_id"]),
        "parent_span_id": bytes.fromhex(span["parent_span_id"] or ""),
        "start_time": span["start_unix_nano"],
        "end_time": span["end_unix_nano"],
        "attributes": list(dict(span["attributes"] or ()).items()),
        "events": [_event(event) for event in span["events"] or ()],
        "signal": span["signal"],
        "given_kind": span["kind"] if span["signal"] != "span" else None,
        "status_code": _STATUS_CODE.get(span["status"] or "", 0),
    }


def _event(event: Mapping[str, Any]) -> Row:
    # Only names and attributes of events are read; their time is not.
    attributes = dict(event["attributes"] or ())
    return {"time": 0, "name": event["name"], "attributes": list(attributes.items())}


def _pairs(owner: str, maps: Sequence[Mapping[str, str]]) -> pa.Table:
    schema = pa.schema([(owner, pa.int64()), ("key", pa.string()), ("value", pa.string())])
    rows = [
        {owner: row, "key": key, "value": value}
        for row, values in enumerate(maps)
        for key, value in values.items()
    ]
    return pa.Table.from_pylist(rows, schema)
