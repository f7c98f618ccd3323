"""Takes secrets and personal data out of what is stored, by the rules of [redaction].

Vectorised: one SQL statement over a group's Arrow tables. Facts (tokens, models, tools, errors) are
computed from what was sent, so a rule never changes a number: patterns leave the attributes alone
that the dialect rules read as facts, and only a key that is denied by name is lost to them too.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from importlib import resources
from typing import Final

import duckdb
import pyarrow as pa

from taximeter.settings import RedactionSettings, SettingsError
from taximeter_collector.decode import Rows, Signal

Count = Callable[[str, int], None]
"""Takes a reason (`pattern`, `denied key`) and how many values of a group it met."""

CONTENT_COLUMNS: Final = ("tool_args", "tool_result", "usage_raw")
"""Columns of the dialect rules that hold what agents say; what others hold are facts."""
_TEXTS: Final = {"traces": ("name", "status_message"), "logs": ("body",), "metrics": ()}


class Redactor:
    """The rules of one collector, ready to run."""

    def __init__(self, settings: RedactionSettings, con: duckdb.DuckDBPyConnection) -> None:
        """Compile the rules; ``con`` has the dialect rules. Raises SettingsError for a bad pattern."""
        patterns = [*_built_in(settings.built_in), *(("redacted", p) for p in settings.patterns)]
        for _, pattern in patterns:
            try:
                con.execute("select regexp_replace('x', $1, '', 'g')", [pattern]).fetchall()
            except duckdb.Error as error:
                raise SettingsError(
                    f"redaction.patterns: {pattern!r} is no regular expression of RE2 ({error})."
                ) from None
        self._facts = [row[0] for row in con.execute(_FACT_KEYS, [CONTENT_COLUMNS]).fetchall()]
        self._patterns = patterns
        self._deny, self._allow = settings.deny_keys, settings.allow_keys
        self.is_idle = not (patterns or self._deny or self._allow)

    def apply(
        self, cursor: duckdb.DuckDBPyConnection, signal: Signal, rows: Rows, count: Count
    ) -> Rows:
        """Return ``rows`` as they may be stored; the attributes for facts lose denied keys only."""
        if self.is_idle:
            return rows
        items, resources_ = rows.items, rows.resource_attributes
        if signal != "metrics":
            items = self._items(cursor, signal, items, count)
        resources_ = self._without(cursor, resources_, count)
        resources_ = self._cleaned_values(cursor, resources_, count)
        attributes = self._without(cursor, rows.attributes, None)
        return replace(rows, items=items, attributes=attributes, resource_attributes=resources_)

    def _items(
        self, cursor: duckdb.DuckDBPyConnection, signal: Signal, items: pa.Table, count: Count
    ) -> pa.Table:
        cursor.register("redact_in", items)
        texts = [f"{self._clean(name)} as {name}" for name in _TEXTS[signal]]
        events = ""
        if signal == "traces":
            cleaned = (
                f"{{'time': ev.time, 'name': ev.name, 'attributes': {self._map('ev.attributes')}}}"
            )
            events = f", list_transform(events, lambda ev: {cleaned}) as events"
        found = cursor.sql(
            f"select * replace ({self._map('attributes')} as attributes, {', '.join(texts)}{events})"
            ' from redact_in order by "row"'
        ).to_arrow_table()
        cursor.register("redact_out", found)
        changed = " + ".join(
            f"(i.{name} is distinct from o.{name})::int"
            for name in (*_TEXTS[signal], *(("events",) if signal == "traces" else ()))
        )
        kept = "len(list_filter(map_keys(i.attributes), lambda k: {}))".format(self._is_kept("k"))
        denied, masked = cursor.execute(
            f"select sum(len(map_keys(i.attributes)) - {kept}), sum({changed} + len(list_filter("
            "map_entries(o.attributes), lambda e: e.value is distinct from i.attributes[e.key])))"
            ' from redact_in i join redact_out o using ("row")'
        ).fetchall()[0]
        _tell(count, "denied key", denied)
        _tell(count, "pattern", masked)
        return found.select(items.column_names)

    def _without(
        self, cursor: duckdb.DuckDBPyConnection, pairs: pa.Table, count: Count | None
    ) -> pa.Table:
        """Return key-value rows without the denied keys; those not allowed may still tell facts."""
        if not self._deny:
            return pairs
        cursor.register("redact_in", pairs)
        kept = cursor.sql(f"from redact_in where not {_fits('key', self._deny)}").to_arrow_table()
        if count is not None:
            _tell(count, "denied key", pairs.num_rows - kept.num_rows)
        return kept

    def _cleaned_values(
        self, cursor: duckdb.DuckDBPyConnection, pairs: pa.Table, count: Count
    ) -> pa.Table:
        if not self._patterns:
            return pairs
        cursor.register("redact_in", pairs)
        clean = self._clean_unless_fact("key", "value")
        _tell(count, "pattern", cursor.execute(
            f"select count(*) from redact_in where value is distinct from {clean}"
        ).fetchall()[0][0])  # fmt: skip
        return cursor.sql(f"select * replace ({clean} as value) from redact_in").to_arrow_table()

    def _map(self, column: str) -> str:
        value = self._clean_unless_fact("e.key", "e.value")
        return (
            f"map_from_entries(list_transform(list_filter(map_entries({column}),"
            f" lambda e: {self._is_kept('e.key')}), lambda e: {{'key': e.key, 'value': {value}}}))"
        )

    def _is_kept(self, key: str) -> str:
        parts = [f"not {_fits(key, self._deny)}"] if self._deny else []
        if self._allow:
            parts.append(f"({_fits(key, self._allow)} or {self._is_fact(key)})")
        return " and ".join(parts) or "true"

    def _is_fact(self, key: str) -> str:
        return f"list_contains([{', '.join(map(_quoted, self._facts))}], {key})"

    def _clean_unless_fact(self, key: str, value: str) -> str:
        return f"case when {self._is_fact(key)} then {value} else {self._clean(value)} end"

    def _clean(self, value: str) -> str:
        for label, pattern in self._patterns:
            value = f"regexp_replace({value}, {_quoted(pattern)}, {_quoted(f'[{label}]')}, 'g')"
        return value


_FACT_KEYS: Final = (
    "select distinct key from attribute_mapping where not list_contains($1, column_name)"
    " union select key from span_mark union select key from kind_rule"
    " union select unnest(['service.name', 'service.version', 'service.namespace', 'event.name'])"
)


def _built_in(wanted: Iterable[str]) -> list[tuple[str, str]]:
    text = resources.files(__package__).joinpath("redaction_patterns.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return [(row["label"], row["pattern"]) for row in rows if row["set"] in set(wanted)]


def _fits(key: str, names: Sequence[str]) -> str:
    """Return SQL for "the key is one of these names", * standing for any part of one."""
    patterns = ["".join(".*" if c == "*" else _literal(c) for c in name) for name in names]
    return f"regexp_full_match({key}, {_quoted('|'.join(patterns))})"


def _literal(character: str) -> str:
    return character if character.isalnum() or character == "_" else f"\\{character}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _tell(count: Count, reason: str, values: int | None) -> None:
    if values:
        count(reason, int(values))
