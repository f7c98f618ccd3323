"""A request's conversation: each turn once, from whatever JSON a client keeps its messages in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb
import pytest
from streamlit.testing.v1 import AppTest

from taximeter_dashboard import conversation, queries
from taximeter_dashboard.conversation import MAX_CHARACTERS, turn_block, turns_of
from taximeter_dashboard.messages import messages_in, pieces_of

START = datetime(2026, 11, 24, 10, tzinfo=UTC)
WINDOW = (START - timedelta(days=1), START + timedelta(days=1))
ASK = "Where is my order?"
CALL = ("call", "find", '{"id": 7}')


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "parts": [{"type": "text", "content": ASK}]}, [("user", "text", "", ASK)]),
        ({"role": "user", "content": ASK}, [("user", "text", "", ASK)]),
        ({"role": "human", "content": [{"type": "text", "text": ASK}]}, [("user", "text", "", ASK)]),
        ({"role": "assistant", "parts": [
            {"type": "tool_call", "id": "1", "name": "find", "arguments": {"id": 7}}]},
         [("assistant", *CALL)]),
        ({"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "function": {"name": "find", "arguments": '{"id": 7}'}}]},
         [("assistant", *CALL)]),
        ({"role": "assistant", "content": [
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "1", "name": "find", "input": {"id": 7}}]},
         [("assistant", "text", "", "I look."), ("assistant", *CALL)]),
        ({"type": "function_call", "call_id": "1", "name": "find", "arguments": '{"id":7}'},
         [("assistant", *CALL)]),
        ({"index": 0, "message": {"role": "assistant", "content": "Done."}},
         [("assistant", "text", "", "Done.")]),
        ({"choices": [{"message": {"role": "assistant", "content": "Done."}}]},
         [("assistant", "text", "", "Done.")]),
        ({"type": "message", "role": "assistant",
          "content": [{"type": "output_text", "text": "Done."}]},
         [("assistant", "text", "", "Done.")]),
        ({"role": "model", "parts": [{"functionCall": {"name": "find", "args": {"id": 7}}}]},
         [("assistant", *CALL)]),
        ({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "sent"}]}]},
         [("tool", "result", "", "sent")]),
        ({"role": "tool", "tool_call_id": "1", "content": "sent"}, [("tool", "result", "", "sent")]),
        ({"role": "tool", "parts": [{"type": "tool_call_response", "id": "1", "response": "sent"}]},
         [("tool", "result", "", "sent")]),
        ({"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]},
         [("assistant", "thought", "", "Hm.")]),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
         [("user", "text", "", "[image_url]")]),
    ],
)  # fmt: skip
def test_a_message_of_any_client_is_read(
    message: object, expected: list[tuple[str, str, str, str]]
) -> None:
    role = "assistant"
    found = pieces_of(message, role)
    assert [(p.role, p.kind, p.name, p.text) for p in found] == expected


@pytest.mark.parametrize(
    "text", ['[{"role": "user", "content": "cut of', "plain words", "[" * 90_000]
)
def test_what_is_no_message_is_shown_as_it_is(text: str) -> None:
    assert [p.text for m in messages_in(text) for p in pieces_of(m, "user")] == [text]


def test_of_a_list_that_was_cut_what_is_whole_is_read(spans: Spans) -> None:
    messages = [{"role": "user", "content": ASK}, {"role": "user", "content": "Well?"}]
    spans.add("llm", gen_ai__input__messages=messages[:1])
    spans.add("llm", gen_ai__input__messages=json.dumps([*messages, messages[0]])[:-9])
    assert told(spans) == [("user", "", ASK), ("user", "", "Well?")]


class Spans:
    """The published view's columns that a conversation reads, as an in-memory table."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self.connection = connection
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            """create table spans (trace_id varchar, span_id varchar, parent_span_id varchar, kind varchar, name varchar,
            status varchar, start_time timestamptz, end_time timestamptz, received_at timestamptz,
            attributes map(varchar, varchar), content_bytes bigint, content_deleted boolean)"""
        )
        self.number = 0

    def add(self, kind: str, *, is_deleted: bool = False, **attributes: Any) -> None:
        told = {
            name.replace("__", "."): value if isinstance(value, str) else json.dumps(value)
            for name, value in attributes.items()
        }
        at = START + timedelta(seconds=self.number)
        self.number += 1  # as a coarse clock says: one ends when the next starts
        size = sum(map(len, told.values())) or (70 if is_deleted else None)
        self.connection.execute(
            "insert into spans values ('r', ?, 'p', ?, 'a span', 'unset', ?, ?, ?, ?, ?, ?)",
            [
                f"s{self.number}",
                kind,
                at,
                at + timedelta(milliseconds=500),
                at,
                told,
                size,
                is_deleted,
            ],
        )

    def rows(self, sql: str, params: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        relation = self.connection.cursor().sql(sql, params=dict(params or {}))
        rows: list[dict[str, Any]] = relation.to_arrow_table().to_pylist()
        return rows


@pytest.fixture
def spans() -> Iterator[Spans]:
    with duckdb.connect(":memory:") as connection:
        yield Spans(connection)


def told(spans: Spans) -> list[tuple[str, str, str]]:
    said = queries.said_in(spans, "r", WINDOW)
    return [(t.piece.role, t.piece.name, t.piece.text) for t in turns_of(said.rows)]


def loop(spans: Spans, turns: int) -> None:
    """Add calls that each repeat the whole history, and the tools they call."""
    history: list[dict[str, Any]] = [{"role": "user", "content": "go on"}]
    for i in range(turns):
        call = {"type": "tool_use", "id": f"t{i}", "name": "find", "input": {"i": i}}
        answer = {"role": "assistant", "content": [{"type": "text", "text": f"Step {i}"}, call]}
        spans.add("llm", gen_ai__system_instructions="Be short.",
                  gen_ai__input__messages=history, gen_ai__output__messages=[answer])  # fmt: skip
        spans.add("tool", gen_ai__tool__name="find", gen_ai__tool__call__id=f"t{i}",
                  gen_ai__tool__call__arguments={"i": i}, gen_ai__tool__call__result=f"found {i}")  # fmt: skip
        result = {"type": "tool_result", "tool_use_id": f"t{i}", "content": f"found {i}"}
        history = [*history, answer, {"role": "user", "content": [result]}]


def test_each_turn_is_told_once_although_calls_repeat_the_history(spans: Spans) -> None:
    loop(spans, 3)
    steps = [
        turn
        for i in range(3)
        for turn in (
            ("assistant", "", f"Step {i}"),
            ("assistant", "find", f'{{"i": {i}}}'),
            ("tool", "find", f"found {i}"),
        )
    ]
    assert told(spans) == [("system", "", "Be short."), ("user", "", "go on"), *steps]


def test_a_tool_whose_call_no_model_shows_tells_its_arguments(spans: Spans) -> None:
    spans.add("tool", gen_ai__tool__name="find", gen_ai__tool__call__arguments={"i": 1},
              gen_ai__tool__call__result="x")  # fmt: skip
    (turn,) = turns_of(queries.said_in(spans, "r", WINDOW).rows)
    assert (turn.given, turn.piece.text) == ('{"i": 1}', "x")


def test_what_tools_kept_nothing_of_is_told_from_the_history(spans: Spans) -> None:
    result = {"role": "tool", "tool_call_id": "1", "content": "found"}
    spans.add("llm", gen_ai__input__messages=[{"role": "user", "content": ASK}])
    spans.add("llm", gen_ai__input__messages=[{"role": "user", "content": ASK}, result])
    assert told(spans) == [("user", "", ASK), ("tool", "", "found")]


def test_words_said_again_are_told_again_and_moved_ones_are_not(spans: Spans) -> None:
    first: dict[str, Any] = {"role": "user", "content": "continue"}
    marked = {"role": "user", "content": [
        {"type": "text", "text": "continue", "cache_control": {"type": "ephemeral"}}]}  # fmt: skip
    spans.add("llm", gen_ai__input__messages=[marked], gen_ai__output__messages="One.")
    answer = {"role": "assistant", "content": "One."}
    spans.add(
        "llm", gen_ai__input__messages=[first, answer, marked], gen_ai__output__messages="Two."
    )
    assert [text for _, _, text in told(spans)] == ["continue", "One.", "continue", "Two."]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"input__value": {"messages": [{"role": "user", "content": ASK}]}}, ASK),
        ({"traceloop__entity__input": ASK}, ASK),
        ({"gen_ai__prompt__0__content": ASK}, ASK),
        ({"gen_ai__input__messages": '[{"role": "user", "content": "cut'},
         '[{"role": "user", "content": "cut'),
    ],
)  # fmt: skip
def test_the_dialects_that_the_tabs_read_are_read(
    spans: Spans, inputs: dict[str, Any], expected: str
) -> None:
    spans.add("llm", **inputs)
    assert told(spans) == [("user", "", expected)]


def test_agents_are_asked_where_calls_kept_nothing(spans: Spans) -> None:
    spans.add("llm")
    spans.add("agent", input__value=ASK, output__value="On its way.")
    assert told(spans) == [("user", "", ASK), ("assistant", "", "On its way.")]


def test_what_is_missing_is_said(spans: Spans) -> None:
    def note() -> str:
        said = queries.said_in(spans, "r", WINDOW)
        return conversation.missing_note(said.spans, len(said.rows))

    spans.add("llm")
    assert "No content was captured" in note()
    spans.add("llm", gen_ai__input__messages=ASK)
    assert note() == "1 of 2 model calls came without content."
    spans.add("llm", is_deleted=True)
    assert "What was said in 1 spans (70\u202fB) is deleted" in note()


@pytest.mark.parametrize("bound", ["NEW_BYTES", "FRESH_BYTES", "READ_BYTES"])
def test_content_beyond_a_bound_is_left_out_and_said(
    spans: Spans, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    loop(spans, 10)
    everything = len(queries.said_in(spans, "r", WINDOW).rows)
    monkeypatch.setattr(f"taximeter_dashboard.queries.conversation.{bound}", 450)
    said = queries.said_in(spans, "r", WINDOW)
    assert said.is_cut
    assert 0 < len(said.rows) < everything


def test_a_long_text_is_cut_and_says_so(spans: Spans) -> None:
    spans.add("llm", gen_ai__output__messages="y" * (MAX_CHARACTERS + 1_234))
    (turn,) = turns_of(queries.said_in(spans, "r", WINDOW).rows)
    block = turn_block(turn, "/request", "10:00")
    assert block["text"].endswith("… 1,234 more characters: open the span to read them.")
    assert len(block["text"]) < MAX_CHARACTERS + 100


def test_who_may_not_see_content_is_told_so_and_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def card() -> None:
        from datetime import UTC, datetime

        from taximeter_dashboard.request_panels import conversation_card

        conversation_card("r", (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)))

    def read() -> None:
        raise AssertionError("content was asked for")

    monkeypatch.setattr("taximeter_dashboard.session.reader", read)
    monkeypatch.setattr("taximeter_dashboard.session.may_see_content", lambda: False)
    assert not AppTest.from_function(card, default_timeout=30).run().exception
    monkeypatch.setattr("taximeter_dashboard.session.may_see_content", lambda: True)
    assert AppTest.from_function(card, default_timeout=30).run().exception
