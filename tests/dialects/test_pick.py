"""The pivot of attributes to columns: the first source of a column that says something wins."""

from __future__ import annotations

import duckdb
from hypothesis import given, settings
from hypothesis import strategies as st

from taximeter_collector.dialects import mapped_columns
from taximeter_collector.ingest.normalise import pick

COLUMNS = mapped_columns()[:3]
TEXT = st.sampled_from(["", "a", "ä", "long " * 9])
SOURCES = st.dictionaries(
    st.tuples(st.integers(0, 40), st.sampled_from(COLUMNS), st.integers(0, 5)), TEXT, max_size=60
)


@settings(deadline=None, max_examples=40)
@given(SOURCES)
def test_each_row_and_column_takes_the_lowest_rank_that_is_not_empty(
    sources: dict[tuple[int, str, int], str],
) -> None:
    expected: dict[tuple[int, str], str] = {}
    for (row, column, _), text in sorted(sources.items(), key=lambda item: -item[0][2]):
        if text:
            expected[row, column] = text
    with duckdb.connect() as con:
        con.execute(
            'create table n_source ("row" bigint, column_name varchar, rank integer, value varchar)'
        )
        con.executemany(
            "insert into n_source values (?, ?, ?, ?)",
            [(*key, text) for key, text in sources.items()] or [(0, COLUMNS[0], 0, "")],
        )
        found = pick(con)
    assert found.column_names == ["row", *mapped_columns()]
    told = {
        (row, column): text
        for column in mapped_columns()
        for row, text in zip(found["row"].to_pylist(), found[column].to_pylist(), strict=True)
        if text is not None
    }
    assert told == expected


def test_of_two_events_of_a_name_the_first_counts() -> None:
    with duckdb.connect() as con:
        con.execute(
            'create table n_source ("row" bigint, column_name varchar, rank integer, value varchar)'
        )
        first, second = (3, COLUMNS[0], 1, "stop"), (3, COLUMNS[0], 1, "length")
        con.executemany("insert into n_source values (?, ?, ?, ?)", [first, second])
        assert pick(con)[COLUMNS[0]].to_pylist() == [None, None, None, "stop"]
