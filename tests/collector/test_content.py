"""What agents say is kept apart from facts, and whatever needs it later is read out on arrival."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from tests.telemetry import Span, body, chat, one

from taximeter_collector.ingest.content import LONG_BYTES, content_key_expression, split_content
from taximeter_collector.ingest.ingest import Ingest
from taximeter_collector.store.store import Store

MAP = pa.map_(pa.string(), pa.string())
PATTERNS = ("gen_ai.input.messages", "llm.*.content", "said[0-9]")


def items(*maps: dict[str, str | None]) -> pa.Table:
    return pa.table({"stored_attributes": pa.array([list(m.items()) for m in maps], MAP)})


def split(table: pa.Table) -> list[tuple[dict[str, str], dict[str, str] | None, int | None]]:
    found = split_content(table, PATTERNS)
    columns = ("kept_attributes", "content", "content_bytes")
    kept, content, size = (found[name].to_pylist() for name in columns)
    return [
        (dict(k), None if c is None else dict(c), s)
        for k, c, s in zip(kept, content, size, strict=True)
    ]


def test_content_goes_by_key_and_by_length() -> None:
    long = "x" * (LONG_BYTES + 1)
    table = items(
        {"a": "1", "gen_ai.input.messages": "héllo", "b": "2"},
        {},
        {"a": "1"},
        {"llm.0.content": "", "said7": "no"},
        {"any": long, "short": long[1:], "none": None},
    )
    assert split(table) == [
        ({"a": "1", "b": "2"}, {"gen_ai.input.messages": "héllo"}, 6),
        ({}, None, None),
        ({"a": "1"}, None, None),
        ({}, {"llm.0.content": "", "said7": "no"}, 2),
        ({"short": long[1:], "none": None}, {"any": long}, LONG_BYTES + 1),
    ]
    # Cut, chunked and empty tables are the same rows.
    assert split(table.slice(2, 2)) == split(table)[2:4]
    assert split(pa.concat_tables([table, table])) == split(table) * 2
    assert split(table.slice(0, 0)) == []
    assert split(items({"a": "1"})) == [({"a": "1"}, None, None)]


@pytest.mark.parametrize("key", ["gen_ai.input.messages", "gen_aiXinput.messages", "llm..content",
                                 "llm.9.contents", "said7", "saidx", "a.said7", ""])  # fmt: skip
def test_the_expression_for_sql_fits_the_same_keys(key: str) -> None:
    expression = content_key_expression(PATTERNS)
    found = duckdb.execute("select regexp_full_match($1, $2)", [key, expression]).fetchall()[0][0]
    assert found == (split(items({key: "v"}))[0][1] is not None)


def test_a_span_shows_all_and_stores_it_apart(tmp_path: Path) -> None:
    said = (("gen_ai.input.messages", "where is my order"), ("gen_ai.request.model", "m"))
    with closing(Store(tmp_path)) as store, closing(Ingest(store)) as ingest:
        ingest.submit("traces", body([Span(1, 1, attributes=said), chat(2, 1)])).result(60)
        wanted = (dict(said), dict(said[1:]), dict(said[:1]), 17, False)
        assert one(
            store,
            "select v.attributes, s.attributes, s.content, v.content_bytes, v.content_deleted"
            " from span s join spans v using (trace_id) where trace_id like '%1'",
        ) == wanted  # fmt: skip
        assert one(
            store, "select content, content_bytes, input_hash from span where trace_id like '%2'"
        ) == (None, None, None)
        hashes = "select count(distinct input_hash) from span where input_hash is not null"
        ingest.submit("traces", body([Span(3, 1, attributes=said)])).result(60)
        assert one(store, hashes) == (1,)
        other = (("gen_ai.input.messages", "where is my order?"),)
        ingest.submit("traces", body([Span(4, 1, attributes=other)])).result(60)
        assert one(store, hashes) == (2,)
