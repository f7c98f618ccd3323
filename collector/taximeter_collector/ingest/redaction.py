"""Takes secrets and personal data out of what is stored, by the rules of [redaction].

Vectorised: SQL over a group's Arrow tables. The rows keep what was sent, for the facts (tokens,
models, tools, errors, repeats) are read in that; beside it stands what may be stored of it. So no
pattern changes a number; only a key that is denied by name is lost to the facts too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import duckdb
import pyarrow as pa

from taximeter.settings.settings import RedactionSettings
from taximeter_collector.ingest.decode import Rows, Signal
from taximeter_collector.ingest.redaction_patterns import built_in, clean, fits, meets, own, quoted
from taximeter_collector.ingest.redaction_points import mask_points
from taximeter_collector.sql_files import read_sql

Count = Callable[[str, int], None]
"""Takes a reason (`pattern`, `denied key`) and how many values of a group it met."""

_TEXTS: Final[dict[Signal, tuple[str, ...]]] = {
    "traces": ("name", "status_message"),
    "logs": ("body", "severity_text"),
    "metrics": (),
}
_READ_EVENTS: Final = (
    "select 'exception' union select split_part(key, ':', 1) from attribute_mapping"
    " where key like '%:%'"
)


class Redactor:
    """The rules of one collector, ready to run."""

    def __init__(self, settings: RedactionSettings, con: duckdb.DuckDBPyConnection) -> None:
        """Compile the rules; ``con`` has the dialect rules. Raises SettingsError for a bad pattern."""
        self._built_in = built_in(settings.built_in)
        self._patterns = [*self._built_in, *own(con, settings)]
        # Numbers in a name are places in a list, not cards or addresses.
        self._of_keys = [p for p in self._built_in if p.check in (None, "has_digit")]
        self._facts = [row[0] for row in con.execute(read_sql("ingest/fact_keys")).fetchall()]
        self._events = [row[0] for row in con.execute(_READ_EVENTS).fetchall()]
        self._deny, self._allow = settings.deny_keys, settings.allow_keys
        self.is_idle = not (self._patterns or self._deny or self._allow)

    def apply(
        self, cursor: duckdb.DuckDBPyConnection, signal: Signal, rows: Rows, count: Count
    ) -> Rows:
        """Return ``rows`` without the denied keys, with ``stored_`` columns: what may be stored."""
        if self.is_idle:
            return rows
        resources = self._without(cursor, rows.resource_attributes, count)
        masked = replace(
            rows,
            attributes=self._without(cursor, rows.attributes, None),
            resource_attributes=self._stored_values(cursor, resources, count),
            redactor=self,
        )
        if signal == "metrics":
            data = mask_points(rows.items, lambda keys, texts: self._texts(cursor, keys, texts))
            return replace(masked, items=rows.items.append_column("stored_data", data))
        return replace(masked, items=self._items(cursor, signal, rows.items, count))

    def points(self, cursor: duckdb.DuckDBPyConnection, rows: Rows) -> Rows:
        """Return points as `metric_points` makes them, their attributes as `apply` leaves others."""
        attributes = self._without(cursor, rows.attributes, None)
        cursor.register("redact_in", rows.items)
        items = cursor.sql(
            f"select *, {self._stored_map('attributes')} as stored_attributes from"
            f" (select * replace ({self._sent_map('attributes')} as attributes) from redact_in)"
            ' order by "row"'
        ).to_arrow_table()
        return replace(rows, items=items, attributes=attributes, redactor=self)

    def clean(self, text: str) -> str:
        """Return SQL for ``text`` (SQL) without what the patterns meet."""
        return clean(text, self._patterns)

    def masks(self, text: str) -> str:
        """Return SQL for whether a pattern meets ``text`` (SQL)."""
        return f"{self.clean(text)} <> {text}"

    def _items(
        self, cursor: duckdb.DuckDBPyConnection, signal: Signal, items: pa.Table, count: Count
    ) -> pa.Table:
        stored = {name: self.clean(name) for name in _TEXTS[signal]}
        stored["attributes"] = self._stored_map("attributes")
        sent = {"attributes": self._sent_map("attributes")}
        if signal == "traces":
            sent["events"] = _events("ev.name", self._sent_map("ev.attributes"))
            stored["events"] = _events(self._event_name(), self._stored_map("ev.attributes"))
        cursor.register("redact_in", items)
        found = cursor.sql(
            f"select *, {', '.join(f'{sql} as stored_{name}' for name, sql in stored.items())}"
            f" from (select * replace ({', '.join(f'{sql} as {name}' for name, sql in sent.items())})"
            ' from redact_in) order by "row"'
        ).to_arrow_table()
        if self._deny or self._allow:
            left_out = f"list_filter(map_keys(attributes), lambda k: not ({self._is_kept('k')}))"
            _tell(count, "denied key", _sum(cursor, f"len({left_out})", "redact_in"))
        cursor.register("redact_out", found)
        changed = [f"({n} is distinct from stored_{n})::int" for n in stored if n != "attributes"]
        values = (
            f"len(list_filter(map_entries(attributes), lambda e: {self._is_kept('e.key')}"
            " and e.value is distinct from stored_attributes[e.key]))"
        )
        _tell(count, "pattern", _sum(cursor, " + ".join([*changed, values]), "redact_out"))
        return found

    def _without(
        self, cursor: duckdb.DuckDBPyConnection, pairs: pa.Table, count: Count | None
    ) -> pa.Table:
        """Return key-value rows without the denied keys; those not allowed may still tell facts."""
        if not self._deny:
            return pairs
        cursor.register("redact_in", pairs)
        kept = cursor.sql(f"from redact_in where not {fits('key', self._deny)}").to_arrow_table()
        if count is not None:
            _tell(count, "denied key", pairs.num_rows - kept.num_rows)
        return kept

    def _stored_values(
        self, cursor: duckdb.DuckDBPyConnection, pairs: pa.Table, count: Count
    ) -> pa.Table:
        """Return key-value rows with ``stored_value``, NULL for what is not to be stored."""
        cursor.register("redact_in", pairs)
        value = (
            f"case when {self._is_stored('key')} then {self._clean_unless_fact('key', 'value')} end"
        )
        found = cursor.sql(f"select *, {value} as stored_value from redact_in").to_arrow_table()
        cursor.register("redact_out", found)
        changed = f"({self._is_kept('key')} and value is distinct from stored_value)::int"
        _tell(count, "pattern", _sum(cursor, changed, "redact_out"))
        if self._allow:
            _tell(
                count,
                "denied key",
                _sum(cursor, f"(not ({self._is_kept('key')}))::int", "redact_out"),
            )
        return found

    def _texts(
        self, cursor: duckdb.DuckDBPyConnection, keys: Sequence[str], texts: Sequence[str | None]
    ) -> list[tuple[bool, str | None]]:
        """Return of each key and value whether it is stored, and as what."""
        pairs = pa.table(
            {
                "place": pa.array(range(len(keys)), pa.int64()),
                "key": pa.array(keys, pa.string()),
                "value": pa.array(texts, pa.string()),
            }
        )
        cursor.register("redact_in", pairs)
        return cursor.execute(
            f"select {self._is_stored('key')}, {self._clean_unless_fact('key', 'value')}"
            " from redact_in order by place"
        ).fetchall()

    def _sent_map(self, column: str) -> str:
        if not self._deny:
            return column
        return f"map_from_entries(list_filter(map_entries({column}), lambda e: not {fits('e.key', self._deny)}))"

    def _stored_map(self, column: str) -> str:
        value = self._clean_unless_fact("e.key", "e.value")
        return (
            f"map_from_entries(list_transform(list_filter(map_entries({column}),"
            f" lambda e: {self._is_stored('e.key')}), lambda e: {{'key': e.key, 'value': {value}}}))"
        )

    def _event_name(self) -> str:
        return f"case when {_is_in('ev.name', self._events)} then ev.name else {self.clean('ev.name')} end"

    def _is_kept(self, key: str) -> str:
        parts = [f"not {fits(key, self._deny)}"] if self._deny else []
        if self._allow:
            parts.append(f"({fits(key, self._allow)} or {_is_in(key, self._facts)})")
        return " and ".join(parts) or "true"

    def _is_stored(self, key: str) -> str:
        """Kept, and not itself named by a secret."""
        if not self._of_keys:
            return self._is_kept(key)
        is_named = f"{meets(key, self._of_keys)} and not {_is_in(key, self._facts)}"
        return f"{self._is_kept(key)} and not ({is_named})"

    def _clean_unless_fact(self, key: str, value: str) -> str:
        return f"case when {_is_in(key, self._facts)} then {value} else {self.clean(value)} end"


def _events(name: str, attributes: str) -> str:
    event = f"{{'time': ev.time, 'name': {name}, 'attributes': {attributes}}}"
    return f"list_transform(events, lambda ev: {event})"


def _is_in(value: str, names: Sequence[str]) -> str:
    return f"list_contains([{', '.join(map(quoted, names))}], {value})"


def _sum(cursor: duckdb.DuckDBPyConnection, expression: str, table: str) -> int:
    return int(cursor.execute(f"select sum({expression}) from {table}").fetchall()[0][0] or 0)


def _tell(count: Count, reason: str, values: int) -> None:
    if values:
        count(reason, values)
